"""The losses attacks ascend: values, and gradients that survive confident predictions."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.attacks.losses import (
    classes_by_rank,
    cross_entropy,
    dlr,
    kl_divergence,
    margin,
    targeted_dlr,
)


def value_and_gradient(logits, labels):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = cross_entropy(logits, tf.constant(labels))
    return value.numpy(), tape.gradient(value, logits).numpy()


@pytest.mark.parametrize("labels_dtype", ["int32", "int64"])
def test_cross_entropy_is_the_textbook_one(labels_dtype):
    random = np.random.RandomState(0)
    logits, labels = random.randn(32, 10) * 5, random.randint(0, 10, 32).astype(labels_dtype)
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    value, gradient = value_and_gradient(logits.astype("float32"), labels)
    np.testing.assert_allclose(value, -np.log(softmax[np.arange(32), labels]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, softmax - np.eye(10)[labels], atol=1e-5)


def test_float16_logits_are_computed_in_float32():
    value, gradient = value_and_gradient(np.array([[12.0, 0.0]], "float16"), [0])
    assert value.dtype == np.float32 and gradient.dtype == np.float16
    np.testing.assert_allclose(value, np.log1p(np.exp(-12.0)), rtol=1e-4)


def test_gradient_of_a_confident_prediction_is_not_rounded_away():
    value, gradient = value_and_gradient(np.array([[40.0, 0.0, -1.0]], "float32"), [0])
    probability = np.exp(-40.0) * (1 + np.exp(-1.0))
    np.testing.assert_allclose(value, probability, rtol=1e-4)
    np.testing.assert_allclose(gradient[0, 0], -probability, rtol=1e-4)  # 0 in a plain softmax
    np.testing.assert_allclose(gradient.sum(), 0, atol=1e-20)


@pytest.mark.parametrize("logits", [[1e4, -1e4, 0.0], [-1e30, 1e30, 0.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("label", [0, 1])
def test_extreme_logits_stay_finite(logits, label):
    value, gradient = value_and_gradient(np.array([logits], "float32"), [label])
    assert np.isfinite(value).all() and np.isfinite(gradient).all()


def test_kl_divergence_by_hand():
    first = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 9.0]])
    second = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (first, second))
    result = kl_divergence(tf.constant(first, tf.float32), tf.constant(second, tf.float32))
    np.testing.assert_allclose(result, (p * np.log(p / q)).sum(-1), rtol=1e-5)


def test_kl_divergence_is_finite_far_out_and_zero_for_equals():
    logits = tf.constant([[200.0, 0.0, -200.0]])
    assert float(kl_divergence(logits, logits)[0]) == 0.0
    assert float(kl_divergence(logits, -logits)[0]) == 400.0
    assert kl_divergence(tf.cast(logits, tf.float16), logits).dtype == tf.float32


# The difference of logits ratio.


def twin_dlr(logits, label, target=None):
    """One example, straight from the paper's formula, in float64."""
    ordered = np.sort(logits.astype("float64"))[::-1]
    if target is None:
        numerator = np.delete(logits, label).max().astype("float64") - logits[label]
        low = ordered[2] if len(ordered) > 2 else None
    else:
        numerator = logits[target].astype("float64") - logits[label]
        low = np.mean(ordered[2:4]) if len(ordered) > 2 else None
    return numerator if low is None else numerator / (ordered[0] - low + 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_dlr_and_its_targeted_form_by_the_formula(classes, dtype):
    random = np.random.RandomState(classes)
    logits = (random.randn(50, classes) * 5).astype(dtype)
    labels, targets = random.randint(0, classes, (2, 50)).astype("int32")
    plain, targeted = dlr(logits, labels), targeted_dlr(logits, labels, targets)
    assert plain.dtype == targeted.dtype == tf.float32
    np.testing.assert_allclose(
        plain, [twin_dlr(*example) for example in zip(logits, labels)], rtol=1e-5
    )
    np.testing.assert_allclose(
        targeted, [twin_dlr(*example) for example in zip(logits, labels, targets)], rtol=1e-5
    )
    np.testing.assert_array_equal(plain > 0, logits.argmax(-1) != labels)
    np.testing.assert_array_equal(margin(logits, labels) > 0, logits.argmax(-1) != labels)


def test_dlr_does_not_fade_where_cross_entropy_does():
    logits, labels = tf.constant([[3.0, 1.0, 0.5, -1.0]]), tf.constant([0])
    far = 100 * logits + 7
    np.testing.assert_allclose(dlr(far, labels), dlr(logits, labels), rtol=1e-5)
    np.testing.assert_allclose(
        targeted_dlr(far, labels, [1]), targeted_dlr(logits, labels, [1]), rtol=1e-5
    )
    with tf.GradientTape() as tape:
        tape.watch(far)
        value = dlr(far, labels)
    # -(z_0 - z_1) / (z_0 - z_2): the denominator has a gradient too.
    np.testing.assert_allclose(
        250**2 * tape.gradient(value, far), [[-50.0, 250.0, -200.0, 0.0]], rtol=1e-4
    )
    assert float(cross_entropy(far, labels)[0]) == 0


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, -9.0]])
def test_dlr_of_equal_logits_is_zero(logits):
    logits, labels = tf.constant([logits]), tf.constant([1])
    assert float(dlr(logits, labels)[0]) == float(targeted_dlr(logits, labels, [0])[0]) == 0


@pytest.mark.parametrize(
    "loss",
    [
        margin,
        dlr,
        lambda logits, labels: targeted_dlr(logits, labels, labels),
        lambda logits, labels: classes_by_rank(logits, labels, 1),
    ],
)
def test_fewer_than_two_classes_are_refused(loss):
    with pytest.raises(ValueError, match=r"shape \(2, 1\): attacks need at least 2 classes"):
        loss(tf.zeros([2, 1]), tf.zeros([2], tf.int32))
    untold = tf.function(
        loss, input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)]
    )
    with pytest.raises(ValueError, match="tf.ensure_shape"):
        untold.get_concrete_function()


def test_classes_by_rank_leave_out_the_true_one():
    logits = tf.constant([[4.0, 3.0, 1.0, 2.0]] * 2, tf.float16)
    np.testing.assert_array_equal(classes_by_rank(logits, [0, 3], 2), [[1, 3], [0, 1]])
    np.testing.assert_array_equal(classes_by_rank(logits, [0, 3], 9), [[1, 3, 2], [0, 1, 2]])
