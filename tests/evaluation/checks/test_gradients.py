"""What the checks of gradients measure, on functions whose derivatives are known."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.evaluation.checks.gradients import STEPS, Network, contradictions, loss_gradients
from sat_tf.evaluation.checks.network import LEAST_DECIDED

IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 2, 2, 3)).astype("float32")
LABELS = np.arange(6, dtype=np.int32) % 4
WEIGHTS = np.random.default_rng(1).normal(size=(12, 4)).astype("float32")


def linear(images):
    return tf.reshape(images, [-1, 12]) @ WEIGHTS


def test_the_gradient_is_that_of_the_weighted_logits():
    network = Network(linear)
    np.testing.assert_allclose(network.logits(IMAGES), IMAGES.reshape(6, 12) @ WEIGHTS, rtol=1e-5)
    weights = np.random.default_rng(2).normal(size=(6, 4)).astype("float32")
    gradient = network.gradient(IMAGES, weights).reshape(6, 12)
    np.testing.assert_allclose(gradient, weights @ WEIGHTS.T, rtol=1e-4, atol=1e-6)
    scaled = Network(linear, loss_scale=64.0).gradient(IMAGES, weights).reshape(6, 12)
    np.testing.assert_allclose(scaled, gradient, rtol=1e-6)


def test_the_gradients_of_losses_are_those_of_their_formulas():
    gradients = loss_gradients(Network(linear), IMAGES, LABELS)
    logits = IMAGES.reshape(6, 12) @ WEIGHTS
    probabilities = tf.nn.softmax(logits).numpy()
    np.testing.assert_allclose(
        gradients["cross-entropy"].reshape(6, 12),
        (probabilities - np.eye(4)[LABELS]) @ WEIGHTS.T,
        rtol=1e-3,
        atol=1e-5,
    )

    def dlr(logits):
        true = logits[np.arange(6), LABELS]
        other = np.where(np.eye(4)[LABELS] > 0, -np.inf, logits).max(-1)
        first, _, third, _ = -np.sort(-logits, -1).T
        return (other - true) / (first - third)

    step = 1e-6 * np.eye(4)
    slopes = np.stack(
        [(dlr(logits.astype(np.float64) + move) - dlr(logits - move)) / 2e-6 for move in step], -1
    )
    slopes /= np.abs(slopes).max(-1, keepdims=True)
    np.testing.assert_allclose(
        gradients["DLR"].reshape(6, 12), slopes @ WEIGHTS.T, rtol=1e-3, atol=1e-4
    )
    assert set(
        loss_gradients(Network(lambda images: linear(images)[:, :2]), IMAGES, LABELS % 2)
    ) == {"cross-entropy"}


@pytest.mark.parametrize(
    "dtype, exponent", [(tf.float32, -23), (tf.float16, -10), (tf.bfloat16, -7), (tf.float64, -23)]
)
@pytest.mark.parametrize("inner", [False, True])
def test_the_precision_is_that_of_the_coarsest_type_in_the_graph(dtype, exponent, inner):
    cast = lambda images: tf.cast(linear(images), dtype)
    function = tf.function(cast) if inner else cast
    assert Network(function).arithmetic(IMAGES).rounding == 2.0**exponent


def test_each_direction_has_at_least_16_examples_and_agrees_on_a_linear_function():
    comparisons = contradictions(Network(linear), IMAGES, seed=0)
    assert [comparison.direction for comparison in comparisons] == [
        "the gradient's sign",
        "random signs",
        "a single value",
    ]
    assert all(
        comparison.wrong == 0 and 16 <= comparison.decided <= 18 for comparison in comparisons
    )


@pytest.mark.parametrize("share, wrong", [(0.0, False), (0.2, False), (0.4, True), (1.5, True)])
def test_a_gradient_may_be_wrong_by_less_than_a_third(share, wrong):
    stopped = lambda images: linear((1 - share) * images + share * tf.stop_gradient(images))
    for comparison in contradictions(Network(stopped), IMAGES, seed=0):
        assert comparison.decided >= 16
        assert comparison.wrong == (comparison.decided if wrong else 0)
        if wrong:
            assert comparison.promised / comparison.seen == pytest.approx(1 - share, rel=0.02)


def test_a_function_that_jumps_at_every_step_cannot_be_judged():
    jumps = lambda images: tf.stop_gradient(1e5 * linear(images) % 1) + 0 * linear(images)
    assert all(
        comparison.decided < LEAST_DECIDED
        for comparison in contradictions(Network(jumps), IMAGES, seed=0)
    )


def test_no_step_leaves_the_pixel_range():
    extremes = tf.Variable([np.inf, -np.inf])

    def noisy(images):  # so that no step decides
        extremes.assign(
            [
                tf.minimum(extremes[0], tf.reduce_min(images)),
                tf.maximum(extremes[1], tf.reduce_max(images)),
            ]
        )
        return linear(images) + tf.random.normal([4], stddev=100.0)

    contradictions(Network(noisy), np.round(IMAGES), seed=0)
    low, high = extremes.numpy()
    assert 0 <= low < 0.0375 and 1 - 0.0375 < high <= 1
    assert STEPS == tuple(sorted(STEPS)) and STEPS[-1] == pytest.approx(1024 * STEPS[0])
