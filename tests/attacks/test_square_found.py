"""What the Square Attack finds and what it never breaks."""

import numpy as np
import pytest
import tensorflow as tf
from square_twin import EPSILON, IMAGES, LABELS, advanced, begun, two_layers, two_layers_in_numpy

from sat_tf.attacks.square import square, square_search

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_stays_in_the_ball_and_in_range_while_the_margin_falls(norm, dtype):
    half = lambda images: tf.cast(two_layers(images), dtype)
    search = square_search(epsilon=EPSILON[norm], norm=norm, bounds=(0.1, 0.8), num_queries=60)
    images = tf.cast(np.clip(IMAGES, 0.1, 0.8), dtype)
    images = tf.clip_by_value(tf.cast(images, tf.float32), 0.1, 0.8).numpy()
    state, index = begun(search, images, logits_fn=half)
    step = tf.function(
        lambda state, index: search.advance(
            half, tf.constant(images), tf.constant(LABELS), state, index, 3
        )
    )
    for _ in range(20):
        new, index = step(state, index)
        adversarial = new["adversarial"].numpy()
        sizes = np.linalg.norm(
            (adversarial - images).reshape(6, -1), np.inf if norm == "linf" else 2, axis=1
        )
        assert (sizes <= EPSILON[norm] + 1e-6).all()
        assert np.float32(0.1) <= adversarial.min() and adversarial.max() <= np.float32(0.8)
        assert (new["margin"].numpy() <= state["margin"].numpy()).all()
        state = new
    logits = half(adversarial).numpy().astype("float32")
    true = logits[np.arange(6), LABELS]
    logits[np.arange(6), LABELS] = -np.inf
    np.testing.assert_array_equal(state["margin"], true - logits.max(-1))
    np.testing.assert_array_equal(state["broken"], state["margin"].numpy() < 0)


def linear(weights):
    """Two classes, the first where an image lies on the side of `weights`, seen from mid-grey."""

    def logits_fn(images):
        score = tf.reduce_sum((images - 0.5) * weights.astype("float32"), [1, 2, 3])
        return tf.stack([score, tf.zeros_like(score)], -1)

    return logits_fn


def at_distances(weights, distances):
    """Images of which `weights` says that they are so far from the border, in multiples of it."""
    noise = np.random.RandomState(1).uniform(-0.1, 0.1, [len(distances), *weights.shape])
    noise -= np.einsum("bhwc,hwc->b", noise, weights)[:, None, None, None] * (
        weights / (weights**2).sum()
    )
    return (0.5 + noise + np.reshape(distances, [-1, 1, 1, 1]) * np.sign(weights)).astype("float32")


def broken_by(search, logits_fn, images):
    labels = np.zeros(len(images), "int32")
    found = tf.function(lambda: search(logits_fn, images, labels, 0))()
    return logits_fn(found).numpy().argmax(-1) == 1


def test_linf_breaks_exactly_what_can_be_broken_where_channels_have_one_sign():
    weights = np.random.RandomState(2).uniform(0.5, 1.5, [6, 6, 3]) * [1, -1, 1]
    distances = np.array([0.5, 0.9, 0.99, 0.999, 1.001, 1.01, 1.1, 2]) * 0.05
    search = square_search(epsilon=0.05, num_queries=400)
    broken = broken_by(search, linear(weights), at_distances(weights, distances))
    np.testing.assert_array_equal(broken, distances < 0.05)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_certainly_robust_is_never_broken_and_what_is_nearly_wrong_is(norm):
    weights = np.random.RandomState(3).randn(8, 8, 3)
    farthest = 0.03 * (np.abs(weights).sum() if norm == "linf" else np.linalg.norm(weights))
    distances = np.array([0.01, 0.1, 0.3, 1.0001, 1.01, 1.2])  # shares of what epsilon can reach
    images = at_distances(weights, distances * farthest / np.abs(weights).sum())
    search = square_search(epsilon=0.03, norm=norm, num_queries=400, restarts=2)
    np.testing.assert_array_equal(broken_by(search, linear(weights), images), distances < 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_network_of_steps_is_attacked_too(norm):
    def logits_fn(images):  # no gradient exists
        return tf.numpy_function(
            lambda x: np.round(4 * two_layers_in_numpy(x)).astype("float32"), [images], tf.float32
        )

    found = tf.function(
        lambda: square(
            logits_fn, IMAGES, LABELS, 0, epsilon=2 * EPSILON[norm], norm=norm, num_queries=150
        )
    )()
    assert (two_layers_in_numpy(found.numpy()).argmax(-1) != LABELS).sum() >= 3


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_example_that_cannot_be_judged_counts_as_broken(norm):
    search = square_search(epsilon=0.1, norm=norm, num_queries=4)
    nan_in_one = lambda images: two_layers(images) + [[np.nan], [0], [0], [0], [0], [0]]
    state, _ = begun(search, logits_fn=nan_in_one)
    assert state["broken"][0]
    after, index = advanced(search, state, tf.zeros([6], tf.int32), 4, logits_fn=nan_in_one)
    np.testing.assert_array_equal(after["adversarial"][0], state["adversarial"][0])
    assert index[0] == 0 and np.isfinite(after["margin"][1:]).all()


def test_a_margin_of_zero_that_is_classified_correctly_is_not_broken():
    search = square_search(epsilon=0.1, num_queries=5)
    ties = lambda images: tf.zeros([len(IMAGES), 4])
    labels = np.array([0, 0, 0, 1, 2, 3], "int32")  # argmax takes the first
    state, _ = begun(search, labels=labels, logits_fn=ties)
    assert state["broken"].numpy().tolist() == [False] * 3 + [True] * 3
    after, index = advanced(
        search, state, tf.zeros([6], tf.int32), 5, labels=labels, logits_fn=ties
    )
    assert index.numpy().tolist() == [5] * 3 + [0] * 3
    assert (after["adversarial"][:3].numpy() != state["adversarial"][:3].numpy()).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "shape",
    [
        *((1, 1, 1), (1, 6, 2), (3, 11, 4)),
        *(
            pytest.param(shape, marks=pytest.mark.slow)
            for shape in ((7, 1, 1), (2, 2, 3), (13, 9, 1))
        ),
    ],
)
def test_images_of_any_size(norm, shape):
    images = np.random.RandomState(4).uniform(0.3, 0.7, [3, *shape]).astype("float32")
    size = int(np.prod(shape))
    logits_fn = lambda images: (
        tf.reshape(images, [-1, size]) @ tf.linspace([0.5, 0.0], [1.0, 0.25], size)
    )
    labels = np.zeros(3, "int32")
    attack = lambda epsilon, queries: square(
        logits_fn, images, labels, 0, epsilon=epsilon, norm=norm, num_queries=queries
    )
    found = tf.function(lambda: attack(0.25, 20))().numpy()
    change = (found - images).reshape(3, -1)
    order = np.inf if norm == "linf" else 2
    np.testing.assert_allclose(np.linalg.norm(change, order, 1), 0.25, rtol=1e-3)
    assert (change.sum(1) < 0).all()  # the true logit has the larger weights
    np.testing.assert_array_equal(attack(0.0, 2), images)
