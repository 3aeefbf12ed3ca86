"""Each method's perturbation against NumPy, on a linear and on a two-layer model.

The twins are written from the papers' algorithms, with gradients by hand; only the random draws are
TensorFlow's, at the places that the methods document."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import training
from sat_tf.training import converge_smooth as converge

EPSILON = 0.1
SHAPE, PIXELS, HIDDEN, CLASSES = (5, 2, 2, 3), 12, 7, 4
SEED = tf.constant([3, 4], tf.int64)
_random = np.random.default_rng(0)
IMAGES = _random.uniform(0, 1, SHAPE).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 1], np.int32)
LINEAR = _random.normal(0, 1, (PIXELS, CLASSES))
FIRST, SECOND = _random.normal(0, 1, (PIXELS, HIDDEN)), _random.normal(0, 1, (HIDDEN, CLASSES))


class Linear:
    def in_tensorflow(self, images):
        return tf.reshape(images, [-1, PIXELS]) @ tf.constant(LINEAR, tf.float32)

    def logits(self, images):
        return images.reshape(-1, PIXELS) @ LINEAR

    def pull_back(self, images, upstream):
        return (upstream @ LINEAR.T).reshape(SHAPE)


class TwoLayers:
    """A hidden layer with tanh."""

    def in_tensorflow(self, images):
        hidden = tf.tanh(tf.reshape(images, [-1, PIXELS]) @ tf.constant(FIRST, tf.float32))
        return hidden @ tf.constant(SECOND, tf.float32)

    def logits(self, images):
        return np.tanh(images.reshape(-1, PIXELS) @ FIRST) @ SECOND

    def pull_back(self, images, upstream):
        hidden = np.tanh(images.reshape(-1, PIXELS) @ FIRST)
        return (((upstream @ SECOND.T) * (1 - hidden**2)) @ FIRST.T).reshape(SHAPE)


def softmax(logits):
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def step(model, images, size, target, radius=EPSILON):
    """One signed step of `size` up the cross-entropy with the target distribution, and back.

    Up to a constant, that is also KL(target || softmax of the model)."""
    gradient = model.pull_back(images, softmax(model.logits(images)) - target)
    moved = images + size * np.sign(gradient)
    return np.clip(np.clip(moved, IMAGES - radius, IMAGES + radius), 0, 1)


def one_hot():
    return np.eye(CLASSES)[LABELS]


def uniform(seed, shape, size):
    return tf.random.stateless_uniform(shape, seed, -size, size).numpy()


def ball_noise_of_pgd():
    restart = tf.random.experimental.stateless_fold_in(SEED, tf.constant(0, tf.int64))
    return uniform(tf.random.experimental.stateless_split(restart, 2)[0], SHAPE, EPSILON)


def unperturbed(model):
    return IMAGES


def three_step_pgd(model):
    adversarial = IMAGES + ball_noise_of_pgd()  # not clipped before the first gradient
    for _ in range(3):
        adversarial = step(model, adversarial, 0.05, one_hot())
    return adversarial


def fgsm_from_noise(model):
    return step(model, np.clip(IMAGES + ball_noise_of_pgd(), 0, 1), 1.25 * EPSILON, one_hot())


def three_step_kl(model):
    adversarial = IMAGES + 0.001 * tf.random.stateless_normal(SHAPE, SEED).numpy()
    for _ in range(3):
        adversarial = step(model, adversarial, 0.05, softmax(model.logits(IMAGES)))
    return adversarial


def backward_from_logits(model):
    logits = model.logits(IMAGES)
    noise = 2.0 * uniform(SEED, logits.shape, 1.0)
    start = step(model, IMAGES, -EPSILON, softmax(logits + noise))
    return step(model, start, EPSILON, softmax(logits))


def unprojected_fgsm(model):
    start = np.clip(IMAGES + uniform(SEED, SHAPE, EPSILON), 0, 1)
    return step(model, start, EPSILON, one_hot(), radius=np.inf)


def projected_fgsm(model):
    start = np.clip(IMAGES + uniform(SEED, SHAPE, EPSILON), 0, 1)
    return step(model, start, EPSILON, one_hot())


ATTACKS = {  # label -> (method, settings, twin)
    "standard": ("standard", {}, unperturbed),
    "pgd": ("pgd", dict(num_steps=3, step_size=0.05), three_step_pgd),
    "fast": ("fast", {}, fgsm_from_noise),
    "trades": ("trades", dict(num_steps=3, step_size=0.05), three_step_kl),
    "backward_smoothing": ("backward_smoothing", dict(gamma=2.0), backward_from_logits),
    "converge_smooth": ("converge_smooth", {}, projected_fgsm),
    "converge_smooth, not projected": ("converge_smooth", dict(project=False), unprojected_fgsm),
}


def test_every_method_has_a_twin():
    assert {method for method, *_ in ATTACKS.values()} == set(training.METHODS)


@pytest.mark.parametrize("model", [Linear(), TwoLayers()], ids=["linear", "two layers"])
@pytest.mark.parametrize("label", ATTACKS)
def test_perturbation_is_that_of_the_twin(label, model):
    name, settings, twin = ATTACKS[label]
    if name != "standard":
        settings = {"epsilon": EPSILON, **settings}
    perturb = tf.function(training.create(name, **settings).perturb)
    adversarial = perturb(model.in_tensorflow, tf.constant(IMAGES), tf.constant(LABELS), SEED)
    np.testing.assert_allclose(adversarial, twin(model), atol=1e-5)


def test_without_projection_the_range_is_the_only_limit():
    method = converge.converge_smooth(epsilon=EPSILON, project=False)
    adversarial = method.perturb(
        Linear().in_tensorflow, tf.constant(IMAGES), tf.constant(LABELS), SEED
    ).numpy()
    assert EPSILON < np.abs(adversarial - IMAGES).max() <= 2 * EPSILON + 1e-6
    assert adversarial.min() >= 0 and adversarial.max() <= 1


@pytest.mark.parametrize("compiled", ["step", "loop"])
@pytest.mark.parametrize("name", ["trades", "backward_smoothing", "converge_smooth"])
def test_compiled_attacks_are_the_plain_ones(name, compiled):
    """Their losses close over the clean logits, which then enter the compiled part."""
    results = [
        tf.function(training.create(name, epsilon=EPSILON, compiled=form).perturb)(
            TwoLayers().in_tensorflow, tf.constant(IMAGES), tf.constant(LABELS), SEED
        )
        for form in ("none", compiled)
    ]
    np.testing.assert_allclose(*results, atol=1e-6)
