"""What FAB returns, from which starts, and of which example by itself."""

import numpy as np
import pytest
import tensorflow as tf
from fab_samples import EPSILONS, SEEDS, classifier, lengths, linear, predicted, traced_fab

from sat_tf.attacks.fab import fab, fab_search
from sat_tf.attacks.threat import ThreatModel

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm": "l2", "epsilon": 0.5},
        {"restarts": 2},
        {"bounds": (0.25, 0.75)},
        {"epsilon": 0.0},
        {"epsilon": 1.0},
        {"targeted": False, "restarts": 3},
    ],
    ids=str,
)
def test_what_is_returned_is_misclassified_and_within_epsilon_or_the_image(settings):
    logits_fn, images, _ = classifier()
    settings = {"targeted": True, "epsilon": 0.03, "num_steps": 3, "num_targets": 2, **settings}
    low, high = settings.get("bounds", (0.0, 1.0))
    images = np.clip(images, low, high)
    labels = predicted(logits_fn, images)
    found = fab(logits_fn, images, labels, 3, **settings).numpy()
    assert found.dtype == np.float32 and low <= found.min() and found.max() <= high
    threat = ThreatModel(settings.get("norm", "linf"), epsilon=settings["epsilon"])
    assert (threat.size(tf.constant(images), found).numpy() <= np.float32(threat.epsilon)).all()
    broken = predicted(logits_fn, found) != labels
    assert ((found != images).any((1, 2, 3)) == broken).all()
    assert broken.any() == (settings["epsilon"] > 0)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_more_steps_and_a_larger_epsilon_break_what_less_did(norm):
    broken = []
    logits_fn, images, labels = classifier()
    for num_steps, factor in ((1, 1.0), (20, 1.0), (20, 2.0)):
        found = traced_fab(
            logits_fn,
            images,
            labels,
            0,
            targeted=True,
            epsilon=factor * EPSILONS[norm],
            norm=norm,
            num_steps=num_steps,
            num_targets=3,
        )
        broken.append(predicted(logits_fn, found) != labels)
    assert (broken[0] <= broken[1]).all() and (broken[1] <= broken[2]).all()
    assert broken[0].mean() < broken[1].mean() < broken[2].mean()


def test_misclassified_images_are_broken_at_once_and_left_alone():
    logits_fn, images, labels = classifier()
    search = fab_search(targeted=True, epsilon=0.03, num_steps=2, restarts=2, num_targets=1)
    state = search.begin(logits_fn, tf.constant(images), labels, SEEDS, 0 * labels + 1)
    np.testing.assert_array_equal(state["broken"], predicted(logits_fn, images) != labels)
    found = search(logits_fn, images, labels, SEEDS).numpy()
    np.testing.assert_array_equal(found[-2:], images[-2:])


def test_a_gradient_that_is_not_finite_is_seen():
    def logits_fn(images):  # finite, but the derivative of the root is infinite at 0
        return tf.stack([tf.reduce_mean(images, [1, 2, 3]), tf.sqrt(images[:, 0, 0, 0])], -1)

    images = np.full((2, 2, 2, 3), 0.5, "float32")
    images[0, 0, 0, 0] = 0
    for targeted in (False, True):
        found = fab(
            logits_fn, images, np.zeros(2, "int32"), 0, targeted=targeted, epsilon=0.01, num_steps=2
        ).numpy()
        assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


@pytest.mark.slow
def test_loss_scale_changes_nothing_in_float32():
    for targeted in (False, True):
        plain, scaled = (
            fab(
                *classifier(),
                0,
                targeted=targeted,
                epsilon=0.03,
                num_steps=4,
                num_targets=1,
                loss_scale=scale,
            ).numpy()
            for scale in (1.0, 128.0)
        )
        np.testing.assert_array_equal(plain, scaled)  # a power of two is exact


# Runs, starts and examples.


def test_runs_are_all_restarts_of_a_target_then_those_of_the_next():
    logits_fn, images, labels = classifier()
    search = fab_search(targeted=True, epsilon=0.03, restarts=2, num_targets=3)
    assert search.runs == 6 and fab_search(targeted=False, epsilon=0.1, restarts=2).runs == 2
    ranking = np.argsort(-logits_fn(images).numpy())
    for run, rank in enumerate([2, 2, 3, 3, 4, 4, 4]):  # there are 4 classes
        state = search.begin(logits_fn, tf.constant(images), labels, SEEDS, 0 * labels + run)
        np.testing.assert_array_equal(state["target"], ranking[:, rank - 1])
        np.testing.assert_array_equal(state["adversarial"], images)
        assert (state["current"].numpy() == images).all() == (run % 2 == 0)


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.2), ("l2", 2.0)])
def test_restarts_begin_at_half_of_epsilon_and_in_range(norm, epsilon):
    search = fab_search(targeted=False, epsilon=epsilon, norm=norm, restarts=3)
    grey, labels = tf.fill([6, 8, 8, 3], 0.5), tf.zeros([6], tf.int32)
    starts = [
        search.begin(linear, grey, labels, seed, labels + run)["current"].numpy() - 0.5
        for seed in (SEEDS[:6], SEEDS[9])
        for run in (1, 2)
    ]
    for start in starts:
        np.testing.assert_allclose(lengths(start, norm), epsilon / 2, rtol=1e-5)
    together = np.concatenate(starts).reshape(24, -1)
    assert np.abs(np.corrcoef(together) - np.eye(24)).max() < 0.4  # all from different noise
    dark = search.begin(linear, 0 * grey, labels, SEEDS[:6], labels + 1)["current"].numpy()
    assert dark.min() == 0 < dark.max()


@pytest.mark.parametrize(
    "norm, targeted", [("linf", True), pytest.param("l2", False, marks=pytest.mark.slow)]
)
def test_an_example_depends_on_no_other_whatever_their_runs_and_steps(norm, targeted):
    logits_fn, images, labels = classifier()
    search = fab_search(targeted=targeted, epsilon=EPSILONS[norm] / 2, norm=norm, restarts=2)
    step = tf.function(
        lambda images, labels, state: search.step(
            logits_fn, images, labels, state, tf.zeros_like(labels)
        )
    )
    runs = np.arange(32, dtype="int32") % 4

    def states(chosen, count):
        inputs = tf.constant(images[chosen]), tf.constant(labels[chosen])
        seeds, run = tf.gather(SEEDS, chosen), tf.constant(runs[chosen])
        state = search.begin(logits_fn, *inputs, seeds, run)
        for _ in range(count):
            state = step(*inputs, state)
        return state

    expected = states(np.arange(32), 4)
    older, newer = np.array([5, 0, 9, 20]), np.array([7, 3, 30, 12])
    mixed = {
        name: tf.concat([states(older, 3)[name], values], 0)
        for name, values in states(newer, 1).items()
    }
    both = np.concatenate([older, newer])
    mixed = step(tf.constant(images[both]), tf.constant(labels[both]), mixed)
    after_two = states(np.arange(32), 2)
    for name, values in mixed.items():
        np.testing.assert_allclose(values[:4], tf.gather(expected[name], older), atol=1e-5)
        np.testing.assert_allclose(values[4:], tf.gather(after_two[name], newer), atol=1e-5)
