"""Evaluation drops what is broken, shares stages and goes on later: the plain loop's numbers."""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import attacks
from sat_tf.errors import NotTrustworthy, UserError
from sat_tf.evaluation import Evaluator, Result
from sat_tf.evaluation.progress import StateFile

pytestmark = pytest.mark.smoke

tf.keras.utils.set_random_seed(0)
CURVED = tiny.network(name="curved")
# What makes every class somebody's.
CENTRE = tf.reduce_mean(CURVED(tiny.examples(40)[0], training=False), 0)


def curved(images):
    return CURVED(images, training=False) - CENTRE


def several(robust_if="any_iterate"):
    """Attacks of several runs, by which some examples are broken early and some late."""
    create = functools.partial(attacks.create, epsilon=0.04, step_size=0.008, robust_if=robust_if)
    return {
        "pgd-5": create("pgd-5"),
        "both": attacks.Ensemble({"pgd-5": create("pgd-5"), "pgd-12x3": create("pgd-12x3")}),
    }


def colour_batches(batch_size=8, count=40):
    images, _ = tiny.examples(count)
    labels = np.argmax(curved(images), -1).astype("int32")  # most of them right when clean
    labels[::7] = (labels[::7] + 1) % 4
    mask = np.ones(count, bool)
    return tf.data.Dataset.from_tensor_slices((images, labels, mask)).batch(batch_size)


def per_example(result):
    return {
        name: (outcome.broken.tolist(), outcome.predicted.tolist())
        for name, outcome in result.outcomes.items()
    }


@functools.cache
def plain(robust_if):
    """The result of attacking every example in every run."""
    return Evaluator(curved, several(robust_if), seed=1, drop=False)(colour_batches(count=32))


@pytest.mark.parametrize(
    "robust_if, replicas, batch_size",
    [
        ("any_iterate", 1, 32),
        *(
            pytest.param(robust_if, replicas, batch_size, marks=pytest.mark.slow)
            for robust_if in ("any_iterate", "final", "best_loss")
            for replicas, batch_size in ((1, 32), (2, 12))
            if (robust_if, replicas) != ("any_iterate", 1)
        ),
    ],
)
def test_dropping_what_is_broken_gives_the_numbers_of_the_plain_loop(
    mirrored, robust_if, replicas, batch_size
):
    expected = plain(robust_if)
    some = expected.correct
    assert 0 < some["both"] < some["clean"] < 32  # there is something to tell apart
    strategy = mirrored if replicas == 2 else None
    dropped = Evaluator(curved, several(robust_if), seed=1, strategy=strategy)(
        colour_batches(batch_size, 32)
    )
    assert dropped == expected
    assert [o.broken.tolist() for o in dropped.outcomes.values()] == [
        o.broken.tolist() for o in expected.outcomes.values()
    ]


class Evaluated(NamedTuple):
    """An evaluator that keeps six examples, what it found, and the attacks it told of."""

    evaluator: Evaluator
    result: Result
    told: list


@pytest.fixture(scope="module")
def evaluated():
    evaluator, calls = Evaluator(curved, several(), seed=1, keep=6), []
    result = evaluator(colour_batches(), on_batch=lambda name, done, total: calls.append(name))
    return Evaluated(evaluator, result, calls)


def test_later_stages_attack_only_what_is_left_and_shared_stages_run_once(evaluated):
    result = evaluated.result
    assert sorted(set(evaluated.told)) == ["clean", "pgd-12x3", "pgd-5"]
    both, first = result.outcomes["both"], result.outcomes["pgd-5"]
    assert both.stages["pgd-5"].broken.tolist() == first.broken.tolist()
    assert (
        both.stages["pgd-12x3"].attacked.tolist()
        == (~result.outcomes["clean"].broken & ~first.broken).tolist()
    )
    assert both.broken.sum() == sum(stage.broken.sum() for stage in both.stages.values())
    survives = np.all([result.survives(name) for name in result.correct], 0)
    assert result.worst_case_accuracy == survives.mean() <= min(result.robust_accuracy.values())


def test_broken_examples_cost_no_more_passes():
    def bump(images):
        seen.append(images)
        return 0

    cost = {}
    for drop in (True, False):
        seen = []

        def logits_fn(images):
            with tf.control_dependencies([tf.py_function(bump, [tf.shape(images)[0]], tf.int32)]):
                return curved(tf.identity(images))

        attack = attacks.create("pgd-20x4", epsilon=0.2, robust_if="any_iterate")
        Evaluator(logits_fn, {"pgd-20x4": attack}, seed=1, drop=drop)(colour_batches())
        cost[drop] = sum(map(int, seen))
    assert cost[True] < 0.5 * cost[False]


def test_an_evaluation_cut_anywhere_goes_on_to_the_same_numbers(evaluated, tmp_path):
    evaluator, whole, _ = evaluated
    path = str(tmp_path / "state.npz")

    class Cut(Exception):
        pass

    starts = {"count": 0}

    def cut(*progress):
        starts["count"] += 1
        if starts["count"] % 2 == 0:  # one step further each time
            raise Cut

    for _ in range(200):
        try:
            result = evaluator(colour_batches(), on_batch=cut, state=StateFile(path, "same"))
            break
        except Cut:
            assert (tmp_path / "state.npz").exists()
    assert result == whole and per_example(result) == per_example(whole)
    for name, images in whole.adversarial.items():
        np.testing.assert_array_equal(result.adversarial[name], images)
    assert starts["count"] > 12
    told = []
    again = evaluator(
        colour_batches(), on_batch=lambda *p: told.append(p), state=StateFile(path, "same")
    )
    assert not told and per_example(again) == per_example(whole)  # all was known


def test_the_first_examples_are_kept_with_what_the_attacks_made_of_them(evaluated):
    result = evaluated.result
    images, labels = (column[:6] for column in next(colour_batches().as_numpy_iterator())[:2])
    np.testing.assert_array_equal(result.images, images)
    np.testing.assert_array_equal(result.labels, labels)
    for name, adversarial in result.adversarial.items():
        classes = np.argmax(curved(adversarial), -1)
        np.testing.assert_array_equal(classes, result.outcomes[name].predicted[:6])
        assert np.abs(adversarial - images).max() <= 0.04 + 1e-6
    few = Evaluator(curved, {}, seed=1, keep=100)(colour_batches(count=8))
    assert len(few.images) == len(few.labels) == len(few.adversarial["clean"]) == 8


def test_results_outside_the_ball_are_refused():
    beyond = attacks.create("pgd-2", epsilon=0.02)
    beyond = dataclasses.replace(beyond, threat=attacks.ThreatModel(epsilon=0.01))
    with pytest.raises(NotTrustworthy, match="outside ball: 2[0-9] of 2[0-9] "):
        Evaluator(curved, {"pgd-2": beyond}, seed=0)(
            colour_batches(32, 32).map(lambda images, labels, mask: (images, labels, mask))
        )


def test_two_attacks_of_one_name_and_images_of_another_scale_are_refused():
    named = {
        "both": attacks.Ensemble({"pgd-2": attacks.create("pgd-2", epsilon=0.1)}),
        "pgd-2": attacks.create("pgd-2", epsilon=0.2),
    }
    with pytest.raises(ValueError, match="two different attacks are called 'pgd-2'"):
        Evaluator(curved, named, seed=0)
    scaled = colour_batches(8, 8).map(lambda images, labels, mask: (255 * images, labels, mask))
    with pytest.raises(UserError, match=r"images must be within \(0, 1\); found"):
        Evaluator(lambda images: curved(images / 255), {"pgd-2": named["pgd-2"]}, seed=0)(scaled)
