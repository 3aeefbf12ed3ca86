"""What Auto-PGD finds: closed forms, what counts as broken, what holds for every loss and norm."""

import numpy as np
import pytest
import tensorflow as tf
from apgd_twin import (
    IMAGES,
    NEAR_PEAK,
    PEAK,
    SHAPE,
    SLOPES,
    WEIGHTS,
    ZEROS,
    broken,
    linear,
    network,
    run,
    states,
)

from sat_tf.attacks.apgd import LOSSES, apgd, apgd_search

pytestmark = pytest.mark.smoke


def highest_margins(images, labels, norm, epsilon, weights):
    """How far any other class can get past the true one within reach, [batch], by the dual norm."""
    flat = images.reshape(len(images), 48).astype("float64")
    logits = flat @ weights
    gap = weights.T.astype("float64")[None] - weights.T[labels][:, None]  # [batch, classes, pixels]
    if norm == "linf":  # pixel by pixel, and so with the bounds
        change = np.clip(np.sign(gap) * epsilon, -flat[:, None], 1 - flat[:, None])
        reach = (gap * change).sum(-1)
    else:
        reach = epsilon * np.linalg.norm(gap, axis=-1)
    margins = logits - logits[np.arange(len(labels)), labels][:, None] + reach
    margins[np.arange(len(labels)), labels] = -np.inf
    return margins.max(-1)


@pytest.mark.parametrize(
    "norm, low, high, epsilon",
    [("linf", 0.2, 0.8, 0.04), ("linf", 0.0, 1.0, 0.05), ("l2", 0.3, 0.7, 0.15)],
)
@pytest.mark.parametrize("loss, classes", [("ce", 2), ("dlr", 2), ("dlr-targeted", 5)])
def test_a_linear_network_is_as_robust_as_its_dual_norm_says(
    loss, classes, norm, low, high, epsilon
):
    """With more classes than two, the climb of an untargeted loss may end on the wrong one."""
    weights = WEIGHTS[:, :classes]
    logits_fn = lambda images: tf.reshape(images, [-1, 48]) @ weights
    images = np.random.RandomState(1).uniform(low, high, (64,) + SHAPE).astype("float32")
    labels = logits_fn(images).numpy().argmax(-1).astype("int32")
    highest = highest_margins(images, labels, norm, epsilon, weights)
    attacked = run(
        logits_fn,
        images,
        labels,
        loss=loss,
        norm=norm,
        epsilon=epsilon,
        num_targets=4,
        num_steps=50,
    )
    found = broken(logits_fn, attacked, labels)
    assert 0.2 < found.mean() < 0.9 and np.abs(highest).min() > 1e-3  # no matter of rounding
    np.testing.assert_array_equal(found, highest > 0)


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.2), ("l2", 0.8)])
def test_a_peak_inside_the_ball_is_found_by_shrinking_steps(norm, epsilon):
    """The second logit falls from PEAK like a roof, and wins there by as much as `height`."""
    images = np.clip(
        PEAK.reshape(SHAPE) + np.random.RandomState(2).uniform(-0.1, 0.1, (32,) + SHAPE), 0, 1
    ).astype("float32")

    def roof(images, height):
        second = height - tf.abs(tf.reshape(images, [-1, 48]) - PEAK) @ SLOPES[:, None]
        return tf.concat([tf.zeros_like(second), second], -1)

    labels = np.zeros(32, "int32")
    attack = tf.function(
        lambda height: apgd(
            lambda images: roof(images, height), images, labels, 0, norm=norm, epsilon=epsilon
        )
    )
    fall = -roof(images, 0.0).numpy()[:, 1].mean()
    for share, is_broken in ((-0.06, False), (0.06, True)):
        height = tf.constant(share * fall, tf.float32)
        assert not broken(lambda images: roof(images, height), images, labels).any()
        found = broken(lambda images: roof(images, height), attack(height), labels)
        np.testing.assert_array_equal(found, is_broken)


# What counts as broken.


def test_every_iterate_counts_the_start_too():
    # Class 1 wins only between the greys 0.5 and 0.6; class 2, which never wins, is the pull.
    def stretch(images):
        grey = tf.reduce_mean(images, [1, 2, 3])
        return 100 * tf.stack([tf.zeros_like(grey), 0.05 - tf.abs(grey - 0.55), grey - 5], -1)

    def search_from(start):
        search = apgd_search("ce", epsilon=0.5, num_steps=30)
        grey = tf.fill([1, 2, 2, 1], 0.5)
        state = search.begin(stretch, grey, tf.constant([0]), tf.constant([0, 0]), tf.constant([0]))
        state.update(adversarial=start, current=start, previous=start)
        return search.advance(stretch, grey, tf.constant([0]), state, tf.constant([0]), 99)

    inside = tf.fill([1, 2, 2, 1], 0.52)
    state, index = search_from(inside)
    assert bool(state["broken"][0]) and int(index[0]) == 1
    np.testing.assert_array_equal(state["adversarial"], inside)
    state, index = search_from(tf.fill([1, 2, 2, 1], 0.3))
    assert bool(state["broken"][0]) and int(index[0]) < 31
    assert 0.5 < float(tf.reduce_mean(state["adversarial"])) < 0.6


def test_what_survives_is_returned_at_its_highest_loss():
    found = states(apgd_search("dlr", epsilon=0.2, num_steps=20), network, NEAR_PEAK, ZEROS)
    values = np.array([network(state["current"])[:, 1] for state in found[:-1]])
    np.testing.assert_allclose(network(found[-1]["adversarial"])[:, 1], values.max(0), atol=1e-5)
    assert (values.max(0) > values[-1] + 1e-3).any()


def test_a_targeted_run_drives_to_its_target():
    """Each of four classes has a row of the image, whose mean has to pass 0.64."""
    rows = lambda images: tf.pad(
        tf.reduce_mean(images, [2, 3]), [[0, 0], [1, 0]], constant_values=0.64
    )
    search = apgd_search("dlr-targeted", epsilon=0.2, num_targets=4, num_steps=20)
    images, number = np.repeat(0.45 + 0.1 * IMAGES[:1], search.runs, 0), np.arange(search.runs)
    state = states(search, rows, images, ZEROS[:4], run=number)[-1]
    assert sorted(state["target"].numpy()) == [1, 2, 3, 4]
    np.testing.assert_array_equal(rows(state["adversarial"]).numpy().argmax(-1), state["target"])


# What holds for every loss, norm and form.


def half_network():
    layers = tf.keras.layers
    net = tf.keras.Sequential(
        [
            layers.Conv2D(8, 3, activation="swish", input_shape=SHAPE, dtype="float16"),
            layers.GlobalAveragePooling2D(dtype="float16"),
            layers.Dense(5, dtype="float16"),
        ]
    )
    return lambda images: net(images, training=False)


def length(change):
    return np.sqrt(np.square(change.astype("float64")).sum((1, 2, 3)))


def progress(loss, logits_fn, state, labels):
    """What the search ascends, and infinity once it has arrived."""
    targets = [state["target"]] if "target" in state else []
    value = LOSSES[loss].value(logits_fn(state["adversarial"]), labels, *targets).numpy()
    return np.where(broken(logits_fn, state["adversarial"], labels), np.inf, value)


@pytest.mark.parametrize(
    "loss, norm, epsilon, half",
    [
        ("ce", "linf", 0.05, False),
        ("ce", "linf", 1.0, False),
        ("ce", "l2", 0.5, True),
        ("dlr", "linf", 0.05, True),
        ("dlr", "l2", 0.5, False),
        ("dlr", "l2", 0.0, False),
        ("dlr-targeted", "linf", 0.05, True),
        ("dlr-targeted", "linf", 0.0, False),
    ],
)
def test_all_returned_images_are_in_the_ball_and_in_range(loss, norm, epsilon, half):
    logits_fn = half_network() if half else linear
    images = np.random.RandomState(3).uniform(0, 1, (8,) + SHAPE).astype("float32")
    labels = logits_fn(images).numpy().argmax(-1).astype("int32")
    search = apgd_search(
        loss,
        epsilon=epsilon,
        norm=norm,
        num_steps=12,
        num_targets=2,
        loss_scale=128.0 if half else 1.0,
    )
    found = states(search, logits_fn, images, labels)
    for state in found:
        attacked = state["adversarial"].numpy()
        size = length(attacked - images) if norm == "l2" else np.abs(attacked - images).max()
        assert attacked.dtype == np.float32 and np.max(size) <= epsilon + 1e-6
        assert 0 <= attacked.min() and attacked.max() <= 1
    margins = [progress(loss, logits_fn, state, labels) for state in (found[0], found[-1])]
    if epsilon == 0:
        np.testing.assert_array_equal(found[-1]["adversarial"], images)
    else:
        assert (margins[1] >= margins[0]).all() and (margins[1] > margins[0]).any()
