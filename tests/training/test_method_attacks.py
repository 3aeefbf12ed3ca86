"""Each method's perturbation against NumPy, on a linear and on a two-layer model.

The twins are written from the papers' algorithms, with gradients by hand; only the random draws are
TensorFlow's, at the places that the methods document."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks, training
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


class Linf:
    """The ball of one norm around each image."""

    norm, epsilon = "linf", 0.1

    def unit(self, gradient):
        return np.sign(gradient)

    def nearest(self, adversarial):
        return np.clip(adversarial, IMAGES - self.epsilon, IMAGES + self.epsilon)

    def noise(self, seed):
        return tf.random.stateless_uniform(SHAPE, seed, -self.epsilon, self.epsilon).numpy()


def length(change):
    return np.sqrt(np.square(change).sum((1, 2, 3), keepdims=True))


class L2:
    norm, epsilon = "l2", 0.3

    def unit(self, gradient):
        return gradient / length(gradient)

    def nearest(self, adversarial):
        change = adversarial - IMAGES
        return IMAGES + change * np.minimum(1, self.epsilon / np.maximum(length(change), 1e-12))

    def noise(self, seed):  # its distribution has tests with the attacks
        threat = attacks.ThreatModel("l2", epsilon=self.epsilon)
        return threat.random_start(tf.constant(IMAGES), seed).numpy()


def step(model, ball, images, size, target, *, project=True):
    """One step of `size` up the cross-entropy with the target distribution, and back.

    Up to a constant, that is also KL(target || softmax of the model)."""
    gradient = model.pull_back(images, softmax(model.logits(images)) - target)
    moved = images + size * ball.unit(gradient)
    return np.clip(ball.nearest(moved) if project else moved, 0, 1)


def one_hot():
    return np.eye(CLASSES)[LABELS]


def noise_of_pgd(ball):
    restart = tf.random.experimental.stateless_fold_in(SEED, tf.constant(0, tf.int64))
    return ball.noise(tf.random.experimental.stateless_split(restart, 2)[0])


def unperturbed(model, ball):
    return IMAGES


def three_step_pgd(model, ball):
    adversarial = IMAGES + noise_of_pgd(ball)  # not clipped before the first gradient
    for _ in range(3):
        adversarial = step(model, ball, adversarial, 0.05, one_hot())
    return adversarial


def fgsm_from_noise(model, ball):
    start = np.clip(ball.nearest(IMAGES + noise_of_pgd(ball)), 0, 1)
    return step(model, ball, start, 1.25 * ball.epsilon, one_hot())


def three_step_kl(model, ball):
    adversarial = IMAGES + 0.001 * tf.random.stateless_normal(SHAPE, SEED).numpy()
    for _ in range(3):
        adversarial = step(model, ball, adversarial, 0.05, softmax(model.logits(IMAGES)))
    return adversarial


def backward_from_logits(model, ball):
    logits = model.logits(IMAGES)
    noise = 2.0 * tf.random.stateless_uniform(logits.shape, SEED, -1.0, 1.0).numpy()
    start = step(model, ball, IMAGES, -ball.epsilon, softmax(logits + noise))
    return step(model, ball, start, ball.epsilon, softmax(logits))


def projected_fgsm(model, ball, project=True):
    start = np.clip(IMAGES + ball.noise(SEED), 0, 1)
    return step(model, ball, start, ball.epsilon, one_hot(), project=project)


def unprojected_fgsm(model, ball):
    return projected_fgsm(model, ball, project=False)


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
@pytest.mark.parametrize("ball", [Linf(), L2()], ids=["linf", "l2"])
@pytest.mark.parametrize("label", ATTACKS)
def test_perturbation_is_that_of_the_twin(label, model, ball):
    name, settings, twin = ATTACKS[label]
    if name != "standard":
        settings = {"epsilon": ball.epsilon, "norm": ball.norm, **settings}
    perturb = tf.function(training.create(name, **settings).perturb)
    adversarial = perturb(model.in_tensorflow, tf.constant(IMAGES), tf.constant(LABELS), SEED)
    np.testing.assert_allclose(adversarial, twin(model, ball), atol=1e-5)


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
