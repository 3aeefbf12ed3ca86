"""Each method's pair: the loss by hand on two examples, the perturbation by its definition."""

import math

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks
from sat_tf.training import methods

LOGITS = tf.constant([[2.0, 0.0, 0.0], [0.0, 1.0, 3.0]])
LABELS = tf.constant([0, 1])


def _cross_entropy(row, target):
    row = np.array(row)
    log_probabilities = row - math.log(np.exp(row).sum())
    return -float(np.dot(target, log_probabilities))


def linear_logits(images):
    weights = tf.reshape(tf.linspace(-1.0, 1.0, 12 * 3), [12, 3])
    return tf.reshape(images, [-1, 12]) @ weights


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("name", methods.METHODS)
def test_loss_on_two_examples(name, smoothing):
    settings = {} if name == "standard" else {"epsilon": 0.1}
    method = methods.create(name, label_smoothing=smoothing, **settings)
    seen = []

    def logits_fn(images):
        seen.append(images)
        return LOGITS

    adversarial = tf.ones([2, 2, 2, 3])
    loss, metrics = method.loss(logits_fn, tf.zeros([2, 2, 2, 3]), adversarial, LABELS)
    off = smoothing / 3
    expected = [_cross_entropy([2, 0, 0], [1 - smoothing + off, off, off]),
                _cross_entropy([0, 1, 3], [off, 1 - smoothing + off, off])]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert len(seen) == 1 and seen[0] is adversarial  # one pass, and none on the clean images
    assert set(metrics) == set(method.metrics)
    np.testing.assert_array_equal(list(metrics.values())[0], [1.0, 0.0])


def test_standard_leaves_the_images_alone():
    images = tf.random.uniform([2, 2, 2, 3])
    method = methods.create("standard")
    np.testing.assert_array_equal(
        method.perturb(linear_logits, images, LABELS, tf.constant([0, 1])), images)


def test_pgd_is_the_attack_with_its_settings():
    images = tf.random.uniform([2, 2, 2, 3])
    seed = tf.constant([0, 1])
    method = methods.create("pgd", epsilon=0.1, num_steps=3, random_start=False)
    expected = attacks.pgd(linear_logits, images, LABELS, seed, epsilon=0.1, num_steps=3,
                           random_start=False)
    np.testing.assert_array_equal(method.perturb(linear_logits, images, LABELS, seed), expected)


def test_fast_steps_from_the_random_start_inside_the_range():
    images = tf.random.uniform([64, 2, 2, 3], 0.3, 0.7)
    labels = tf.zeros([64], tf.int32)
    adversarial = methods.create("fast", epsilon=0.1).perturb(
        linear_logits, images, labels, tf.constant([0, 1]))
    change = (adversarial - images).numpy()
    assert np.abs(change).max() <= 0.1 + 1e-6
    # A step of 1.25 epsilon ends a quarter of epsilon beyond the centre at the least, and at the
    # ball's edge for five eighths of the starts.
    assert np.abs(change).min() >= 0.025 - 1e-6
    assert np.mean(np.abs(change) > 0.1 - 1e-6) == pytest.approx(0.625, abs=0.05)


def test_unknown_method_lists_the_known():
    with pytest.raises(ValueError, match="known: standard, pgd, fast"):
        methods.create("trade")
