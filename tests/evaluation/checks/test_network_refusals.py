"""Self-checks before an attack, on networks whose numbers would mean nothing."""

import numpy as np
import pytest
import tensorflow as tf
import tiny
from network_checks import IMAGES, LABELS, names, refusal

from sat_tf.errors import NonFinite, NotTrustworthy, UserError
from sat_tf.evaluation.checks.network import examine


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits_fn = tiny.trained()
    some = tf.constant(np.where(np.arange(32) < 3, value, 0.0), tf.float32)[:, None]
    with pytest.raises(NonFinite, match="3 of 32"):
        examine(lambda images: logits_fn(images) + some, IMAGES, LABELS)


@pytest.mark.smoke
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_a_prediction_that_depends_on_its_neighbours_is_refused(policy):
    network = tiny.trained(policy=policy).network
    error = refusal(lambda images: network(images, training=True))
    assert error.check == "batch_dependence" and "training=False" in str(error)


def test_a_prediction_that_depends_on_its_place_is_refused():
    logits_fn = tiny.trained()
    ramp = tf.range(32.0)[:, None]
    assert refusal(lambda images: logits_fn(images) * (1 + 0.01 * ramp)).check == "batch_dependence"


def quantised(logits_fn, levels, *, low=0.0, width=1.0):
    def function(images):
        rounded = tf.round((images - low) / width * levels) / levels * width + low
        return logits_fn(images + tf.stop_gradient(rounded - images))

    return function


@tf.custom_gradient
def median_filter(images):
    """Of three neighbours in a row, with the identity's gradient."""
    three = tf.stack([images, tf.roll(images, 1, 2), tf.roll(images, -1, 2)])
    return tf.sort(three, axis=0)[1], lambda upstream: upstream


def scrambled(images):
    order = np.random.default_rng(0).permutation(64)
    return tf.gather(tf.reshape(images, [-1, 64, 3]), order, axis=1)


MADE_UP = {
    "1 bit": lambda f: quantised(f, 1),
    "2 bits": lambda f: quantised(f, 3),
    "4 bits": lambda f: quantised(f, 15),
    "6 bits": lambda f: quantised(f, 63),
    "half stopped": lambda f: lambda images: 0.5 * f(images) + tf.stop_gradient(0.5 * f(images)),
    "other channel stopped": lambda f: (
        lambda images: f(images * [1.0, 1.0, 0.0]) + tf.stop_gradient(f(images * [0.0, 0.0, 1.0]))
    ),
    "opposite": lambda f: lambda images: f(2 * tf.stop_gradient(images) - images),
    "twice": lambda f: lambda images: f(2 * images - tf.stop_gradient(images)),
    "noise": lambda f: (
        lambda images: (
            f(tf.stop_gradient(images))
            + 0.1 * (scrambled(images)[:, :4, 0] - tf.stop_gradient(scrambled(images)[:, :4, 0]))
        )
    ),
    "median filter": lambda f: lambda images: f(median_filter(images)),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", MADE_UP)
def test_a_gradient_that_differences_contradict_is_refused(name):
    error = refusal(MADE_UP[name](tiny.trained("swish")))
    assert error.check == "gradient_mismatch" and "square" in str(error)


def test_the_pixel_range_does_not_matter():
    logits_fn = tiny.trained("swish")
    wide = lambda images: logits_fn((images + 100.0) / 355.0)
    images, bounds = IMAGES * 355 - 100, (-100.0, 255.0)
    assert examine(wide, images, LABELS, bounds=bounds) == []
    with pytest.raises(NotTrustworthy, match="gradient mismatch"):
        examine(quantised(wide, 5, low=-100.0, width=355.0), images, LABELS, bounds=bounds)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_coarse_arithmetic_does_not_hide_a_wrong_gradient(policy):
    logits_fn = tiny.trained("swish", policy)
    assert refusal(MADE_UP["opposite"](lambda images: 5 * logits_fn(images))).check == (
        "gradient_mismatch"
    )


def test_a_gradient_that_is_not_finite_is_refused():
    logits_fn = tiny.trained()
    error = refusal(lambda images: logits_fn(tf.sqrt(tf.nn.relu(images - 0.3))))
    assert error.check == "gradient_mismatch" and "NaN" in str(error) and "32 of 32" in str(error)


def test_without_a_gradient_only_black_box_attacks_are_left():
    logits_fn = tiny.trained()
    rounded = lambda images: logits_fn(tf.cast(tf.cast(images * 255, tf.uint8), tf.float32) / 255)
    with pytest.raises(UserError, match="not differentiable with respect to its images.*square"):
        examine(rounded, IMAGES, LABELS)
    assert names(rounded, differentiable=False) == []
    with pytest.raises(NotTrustworthy, match="batch dependence"):  # what else is checked, still is
        examine(
            lambda images: rounded(images) - tf.reduce_mean(images),
            IMAGES,
            LABELS,
            differentiable=False,
        )
