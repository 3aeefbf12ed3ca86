"""Each method's pair: the loss by hand on two examples, the perturbation by its definition.

`test_method_attacks.py` holds the perturbations against NumPy."""

import math

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks, training

CLEAN = [[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]]
ATTACKED = [[0.5, 1.0, 0.0], [0.0, 3.0, -1.0]]
LABELS = tf.constant([0, 1])
IMAGES, ADVERSARIAL = tf.zeros([2, 2, 2, 3]), tf.ones([2, 2, 2, 3])


def _log_softmax(row):
    return np.array(row) - math.log(np.exp(row).sum())


def _cross_entropies(rows, smoothing):
    off = smoothing / 3
    targets = [[1 - smoothing + off, off, off], [off, 1 - smoothing + off, off]]
    return np.array([-np.dot(_log_softmax(row), target) for row, target in zip(rows, targets)])


def _divergences():
    return np.array(
        [
            np.dot(np.exp(_log_softmax(p)), _log_softmax(p) - _log_softmax(q))
            for p, q in zip(CLEAN, ATTACKED)
        ]
    )


# Method -> (settings, loss by hand of a label smoothing, images of the forward passes).
ONLY_ADVERSARIAL = (lambda s: _cross_entropies(ATTACKED, s), ["adversarial"])
LOSSES = {
    "standard": ({}, *ONLY_ADVERSARIAL),
    "pgd": ({"epsilon": 0.1}, *ONLY_ADVERSARIAL),
    "fast": ({"epsilon": 0.1}, *ONLY_ADVERSARIAL),
    "trades": (
        {"epsilon": 0.1, "beta": 3.0},
        lambda s: _cross_entropies(CLEAN, s) + 3.0 * _divergences(),
        ["clean", "adversarial"],
    ),
    "backward_smoothing": (
        {"epsilon": 0.1, "beta": 3.0},
        lambda s: _cross_entropies(CLEAN, s) + 3.0 * _divergences(),
        ["clean", "adversarial"],
    ),
    # In its first epoch; see test_converge_smooth.py for the others.
    "converge_smooth": (
        {"epsilon": 0.1},
        lambda s: _cross_entropies(ATTACKED, s),
        ["clean", "adversarial"],
    ),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", training.METHODS)
def test_loss_on_two_examples(name, smoothing):
    settings, expected, passes = LOSSES[name]
    method = training.create(name, label_smoothing=smoothing, **settings)
    if method.state is not None:
        method.state.build()
    seen = []

    def logits_fn(images):
        seen.append("clean" if images is IMAGES else "adversarial")
        return tf.constant(CLEAN if images is IMAGES else ATTACKED)

    loss, metrics = method.loss(logits_fn, IMAGES, ADVERSARIAL, LABELS)
    np.testing.assert_allclose(loss, expected(smoothing), rtol=1e-5)
    assert seen == passes
    assert set(metrics) == set(method.metrics)
    # The second method sees ATTACKED as its images too, where it has no others.
    np.testing.assert_array_equal(metrics.get("adversarial_accuracy", [0.0, 1.0]), [0.0, 1.0])
    if "clean" in passes:
        np.testing.assert_array_equal(metrics["clean_accuracy"], [1.0, 0.0])


def test_the_clean_branch_of_the_divergence_is_not_detached():
    method = training.create("trades", epsilon=0.1, beta=1.0)
    clean, attacked = tf.constant(CLEAN), tf.constant(ATTACKED)
    with tf.GradientTape() as tape:
        tape.watch(clean)
        loss, _ = method.loss(
            lambda images: clean if images is IMAGES else attacked, IMAGES, ADVERSARIAL, LABELS
        )
    gradient = tape.gradient(loss, clean).numpy()
    for row, (p_logits, q_logits, label) in enumerate(zip(CLEAN, ATTACKED, LABELS.numpy())):
        log_p, log_q = _log_softmax(p_logits), _log_softmax(q_logits)
        p, of_label = np.exp(log_p), np.eye(3)[label]
        divergence = np.dot(p, log_p - log_q)
        np.testing.assert_allclose(
            gradient[row], p - of_label + p * (log_p - log_q - divergence), atol=1e-6
        )


def linear_logits(images):
    weights = tf.reshape(tf.linspace(-1.0, 1.0, 12 * 3), [12, 3])
    return tf.reshape(images, [-1, 12]) @ weights


def test_standard_leaves_the_images_alone():
    images = tf.random.uniform([2, 2, 2, 3])
    method = training.create("standard")
    np.testing.assert_array_equal(
        method.perturb(linear_logits, images, LABELS, tf.constant([0, 1])), images
    )


def test_pgd_is_the_attack_with_its_settings():
    images = tf.random.uniform([2, 2, 2, 3])
    seed = tf.constant([0, 1])
    method = training.create("pgd", epsilon=0.1, num_steps=3, random_start=False)
    expected = attacks.pgd(
        linear_logits, images, LABELS, seed, epsilon=0.1, num_steps=3, random_start=False
    )
    np.testing.assert_array_equal(method.perturb(linear_logits, images, LABELS, seed), expected)


def test_fast_steps_from_the_random_start_inside_the_range():
    images = tf.random.uniform([64, 2, 2, 3], 0.3, 0.7)
    labels = tf.zeros([64], tf.int32)
    adversarial = training.create("fast", epsilon=0.1).perturb(
        linear_logits, images, labels, tf.constant([0, 1])
    )
    change = (adversarial - images).numpy()
    assert np.abs(change).max() <= 0.1 + 1e-6
    # A step of 1.25 epsilon ends a quarter of epsilon beyond the centre at the least, and at the
    # ball's edge for five eighths of the starts.
    assert np.abs(change).min() >= 0.025 - 1e-6
    assert np.mean(np.abs(change) > 0.1 - 1e-6) == pytest.approx(0.625, abs=0.05)


def test_unknown_method_lists_the_known():
    with pytest.raises(ValueError, match="known: standard, pgd, fast, trades"):
        training.create("trade")
