"""Auto-PGD against a twin in NumPy, its checkpoints, starts and targets."""

import numpy as np
import pytest
import tensorflow as tf
from apgd_twin import EPSILONS, FIRST, IMAGES, NEAR_PEAK, PEAK, ZEROS, linear, network, states, twin

from sat_tf.attacks.apgd import LOSSES, apgd_search, checkpoints
from sat_tf.attacks.search import select

pytestmark = pytest.mark.smoke


def test_checkpoints_of_the_paper():
    assert [moves for moves, _ in checkpoints(100)] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [window for _, window in checkpoints(100)] == [22, 19, 16, 13, 10, 7, 6, 6]
    assert checkpoints(3) == [(1, 1), (2, 1), (3, 1)] and checkpoints(1) == [(1, 1)]


@pytest.mark.parametrize("loss, norm", [("ce", "linf"), ("dlr", "linf"), ("ce", "l2")])
def test_every_iterate_is_that_of_a_twin(loss, norm):
    search = apgd_search(loss, epsilon=EPSILONS[norm], norm=norm)
    found = states(search, network, NEAR_PEAK, ZEROS, seed=1)
    assert len(found) == 102 and not found[-1]["broken"].numpy().any()
    compared, verdicts_met = 0, set()
    for i, image in enumerate(NEAR_PEAK.astype("float64")):
        iterates, best, f_best, verdicts = twin(loss, norm, image, found[0]["current"][i].numpy())
        if np.abs((iterates.reshape(-1, 48) - PEAK) @ FIRST).min() < 1e-6:
            continue  # so close to a kink, rounding may decide on which side the gradient is
        halved = [moves for moves, rules in verdicts.items() if any(rules)]
        sizes = np.array([state["size"][i] for state in found])
        np.testing.assert_array_equal(np.flatnonzero(np.diff(sizes)), halved)
        np.testing.assert_allclose(sizes[-1], 2 * EPSILONS[norm] / 2 ** len(halved), rtol=1e-6)
        ours = [state["current"][i] for state in found[:-1]]
        np.testing.assert_allclose(ours, iterates, atol=1e-5)
        np.testing.assert_allclose(found[-1]["adversarial"][i], best, atol=1e-5)
        np.testing.assert_allclose(found[-1]["highest"][i], f_best, atol=1e-5)
        compared, verdicts_met = compared + 1, verdicts_met | set(verdicts.values())
    assert compared >= 5 and verdicts_met >= {(True, False), (False, False)}


@pytest.mark.parametrize(
    "rises, highest_before, halved_before, halves",
    [
        (14, -9.0, True, True),
        (15, -9.0, True, False),  # 0.75 * 19 is 14.25
        (14, -9.0, False, True),
        (15, -9.0, False, False),
        (15, 9.0, False, True),
        (15, 9.0, True, False),
    ],
)  # the best loss has not improved
def test_the_two_rules_of_a_checkpoint(rises, highest_before, halved_before, halves):
    search = apgd_search("dlr", epsilon=0.2)
    best = tf.constant(NEAR_PEAK)
    state = search.begin(network, best, ZEROS, tf.constant([0, 1]), ZEROS)
    like = lambda value, dtype: tf.fill([8], tf.constant(value, dtype))
    state.update(
        adversarial=best,
        rises=like(rises, tf.int32),
        halved=like(halved_before, tf.bool),
        highest=like(9.0, tf.float32),
        last=like(9.0, tf.float32),
        highest_before=like(highest_before, tf.float32),
    )
    at_checkpoint, elsewhere = (
        search.step(network, best, ZEROS, state, ZEROS + index) for index in (41, 42)
    )
    np.testing.assert_allclose(at_checkpoint["size"], 0.2 if halves else 0.4)
    np.testing.assert_array_equal(at_checkpoint["halved"], halves)
    np.testing.assert_array_equal(at_checkpoint["previous"], best if halves else state["current"])
    np.testing.assert_array_equal(at_checkpoint["rises"], 0)
    np.testing.assert_array_equal(at_checkpoint["highest_before"], 9)
    np.testing.assert_allclose(elsewhere["size"], 0.4)
    np.testing.assert_array_equal(elsewhere["rises"], rises)
    np.testing.assert_array_equal(elsewhere["halved"], halved_before)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_examples_may_be_at_different_steps_and_in_different_runs(loss):
    """Each begins later than the one before, and gives what all give together."""
    search = apgd_search(loss, epsilon=0.05, num_steps=20, num_targets=2, restarts=2)
    seeds = tf.constant([[3, number] for number in range(8)])
    runs = tf.constant([0, 1, 2, 3, 3, 2, 1, 0]) % search.runs
    begin = lambda: search.begin(network, tf.constant(NEAR_PEAK), tf.constant(ZEROS), seeds, runs)
    step = tf.function(
        lambda state, index, count: search.advance(
            network, tf.constant(NEAR_PEAK), tf.constant(ZEROS), state, index, count
        )
    )
    together, index = step(begin(), tf.constant(ZEROS), tf.constant(99))
    np.testing.assert_array_equal(index, 21)
    state, index, fresh = begin(), tf.constant(ZEROS), begin()
    for number in range(8):  # those that have not begun are put back
        state, index = step(state, index, tf.constant(3))
        waits = np.arange(8) > number
        state = {name: select(waits, fresh[name], value) for name, value in state.items()}
        index = tf.where(waits, 0, index)
    assert len(set(index.numpy())) > 5
    state, index = step(state, index, tf.constant(99))
    assert len(np.unique(state["size"])) > 1
    for name, value in together.items():
        np.testing.assert_allclose(
            *(tf.cast(x, tf.float32) for x in (state[name], value)), atol=1e-6, err_msg=name
        )


def test_with_a_seed_for_each_example_its_result_depends_on_no_other():
    search = apgd_search("ce", epsilon=0.05, num_steps=5, restarts=2)
    seeds = tf.constant([[1, number] for number in range(8)], tf.int64)
    whole = search(network, NEAR_PEAK, ZEROS, seeds).numpy()
    order = [4, 0, 3]
    part = search(network, NEAR_PEAK[order], ZEROS[order], tf.gather(seeds, order))
    np.testing.assert_allclose(part, whole[order], atol=1e-6)


@pytest.mark.parametrize("seed", [[0, 5], [[0, each] for each in range(8)]], ids=["one", "each"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_runs_start_on_the_surface_of_the_ball_each_elsewhere(norm, seed):
    search = apgd_search("ce", epsilon=0.1, norm=norm, restarts=3)
    grey = tf.fill(IMAGES.shape, 0.5)
    begin = lambda run: search.begin(linear, grey, ZEROS, tf.constant(seed), ZEROS + run)
    starts = [begin(run)["adversarial"].numpy() for run in (0, 1, 2, 0)]
    for start in starts:
        np.testing.assert_allclose(search.threat.size(grey, start), 0.1, rtol=1e-5)
    np.testing.assert_array_equal(starts[0], starts[3])
    assert np.abs(starts[0] - starts[1]).max() > 0.01 < np.abs(starts[1] - starts[2]).max()
    assert np.abs(starts[0][0] - starts[0][1]).max() > 0.01


def test_linf_start_is_noise_over_its_largest_part():
    search = apgd_search("ce", epsilon=0.1)
    grey = tf.fill([500, 1, 1, 2], 0.5)
    start = search.begin(linear, grey, np.zeros(500, "int32"), tf.constant([0, 1]), [0] * 500)
    parts = np.sort(np.abs(start["current"].numpy() - 0.5).reshape(500, 2) / 0.1)
    np.testing.assert_allclose(parts[:, 1], 1, rtol=1e-5)
    # The smaller of two uniform numbers over the larger is uniform.
    counts, _ = np.histogram(parts[:, 0], 5, (0, 1))
    assert np.abs(counts - 100).max() < 40


# Targets.


def test_runs_go_through_the_targets_and_each_target_through_its_restarts():
    logits = tf.constant([[5.0, 1.0, 4.0, 2.0, 3.0]] * 3)
    labels = tf.constant([0, 2, 1])  # the second and third example are misclassified at once

    def targets(search):
        return np.array(
            [
                search.begin(
                    lambda images: logits + 0 * tf.reduce_sum(images),
                    tf.constant(IMAGES[:3]),
                    labels,
                    tf.constant([0, 1]),
                    tf.fill([3], run),
                )["target"]
                for run in range(search.runs)
            ]
        ).T

    search = apgd_search("dlr-targeted", epsilon=0.1, restarts=2, num_targets=3)
    assert search.runs == 6
    np.testing.assert_array_equal(
        targets(search), [[2, 2, 4, 4, 3, 3], [0, 0, 4, 4, 3, 3], [0, 0, 2, 2, 4, 4]]
    )
    many = apgd_search("dlr-targeted", epsilon=0.1)  # nine, and there are four other classes
    np.testing.assert_array_equal(targets(many)[0], [2, 4, 3, 1, 1, 1, 1, 1, 1])
    assert apgd_search("dlr", epsilon=0.1, restarts=2).runs == 2
