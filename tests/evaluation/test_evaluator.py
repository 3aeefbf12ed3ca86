"""Evaluation: exact counts, on models whose answers are known beforehand."""

import dataclasses
import functools
import gc
import os

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf import attacks
from sat_tf.errors import NotTrustworthy, UserError
from sat_tf.evaluation import Evaluator, Result, evaluate
from sat_tf.evaluation.progress import StateFile
from sat_tf.runs.folder import RunFolder

pytestmark = pytest.mark.smoke

EPSILON = 0.1
# An image is one grey level g, and the model answers class 1 where g > 1/2.  With epsilon 0.1
# exactly the examples further than 0.1 from 1/2, and on the right side, are robust.
GREYS = np.array([0.0, 0.3, 0.45, 0.55, 0.7, 1.0, 0.2, 0.8, 0.42, 0.58], "float32")
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 1], "int32")  # the 7th and the 8th are wrong
CLEAN, ROBUST = 8, 4


def threshold(images):
    score = 10.0 * (tf.reduce_mean(images, [1, 2, 3]) - 0.5)
    return tf.stack([-score, score], -1)


def padded_batches(greys=GREYS, labels=LABELS, batch_size=4):
    padding = -len(greys) % batch_size
    images = np.pad(greys, (0, padding))[:, None, None, None] * np.ones((1, 2, 2, 3), "float32")
    mask = np.arange(len(images)) < len(greys)
    data = (images, np.pad(labels, (0, padding)), mask)
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)


def named(*names, form="none"):
    # Steps that cross the ball, so that every start ends in the same corner.
    return {
        name: attacks.create(name, epsilon=EPSILON, step_size=2 * EPSILON, compiled=form)
        for name in names
    }


def counting(logits_fn):
    def counted(images):
        counted.calls += 1
        return logits_fn(images)

    counted.calls = 0
    return counted


@pytest.mark.parametrize("batch_size", [1, 4, 10, 16])
def test_counts_are_exact_whatever_the_padding(batch_size):
    names = named("clean", "fgsm", "pgd-3", "pgd-2x2")
    result = evaluate(threshold, padded_batches(batch_size=batch_size), names, seed=0)
    assert result.examples == 10
    assert result.correct == {"clean": CLEAN, "fgsm": ROBUST, "pgd-3": ROBUST, "pgd-2x2": ROBUST}
    assert all(type(count) is int for count in result.correct.values())
    assert result.clean_accuracy == 0.8
    assert result.robust_accuracy == {"fgsm": 0.4, "pgd-3": 0.4, "pgd-2x2": 0.4}


def test_clean_is_counted_first_whether_asked_for_or_not():
    for names in ((), ("fgsm",), ("fgsm", "clean")):
        result = evaluate(threshold, padded_batches(), named(*names), seed=0)
        assert list(result.correct)[0] == "clean" and result.clean_accuracy == 0.8


def test_an_example_wrong_when_clean_is_not_robust_even_if_the_attack_mends_it():
    mend = lambda logits_fn, images, labels, seed: (
        tf.zeros_like(images) + tf.cast(tf.reshape(labels, [-1, 1, 1, 1]), tf.float32)
    )
    assert evaluate(threshold, padded_batches(), {"mend": mend}, seed=0).correct["mend"] == CLEAN


@pytest.mark.parametrize("form", attacks.COMPILED_FORMS)
def test_two_replicas_count_as_one(mirrored, form):
    names = named("fgsm", "pgd-3", "pgd-2x2", form=form)
    one = evaluate(threshold, padded_batches(), names, seed=0)
    two = evaluate(threshold, padded_batches(), names, seed=0, strategy=mirrored)
    assert one == two == Result(10, {"clean": CLEAN, **dict.fromkeys(names, ROBUST)})


def test_traces_grow_neither_with_batches_nor_with_steps(mirrored):
    for batch_size, steps in ((2, 1), (2, 30), (10, 30)):
        logits_fn = counting(threshold)
        evaluate(
            logits_fn, padded_batches(batch_size=batch_size), named(f"pgd-{steps}", "fgsm"), seed=0
        )
        assert logits_fn.calls == 1 + 2 + 2  # clean; attack and result of each attack
    logits_fn = counting(threshold)
    evaluate(logits_fn, padded_batches(batch_size=2), named("pgd-5"), seed=0, strategy=mirrored)
    assert logits_fn.calls == 2 * (1 + 2)


def test_an_evaluator_is_traced_once_for_all_its_calls():
    shift = tf.Variable(0.0)
    logits_fn = counting(lambda images: threshold(images + shift))
    evaluator = Evaluator(logits_fn, named("pgd-2"), seed=0)
    assert evaluator(padded_batches()).correct == {"clean": CLEAN, "pgd-2": ROBUST}
    shift.assign(1.0)  # now everything is taken for class 1, which 5 examples are
    assert evaluator(padded_batches()).correct == {"clean": 5, "pgd-2": 5}
    assert logits_fn.calls == 1 + 2


def test_an_evaluator_leaves_nothing_behind():
    evaluator = Evaluator(lambda images: tf.nn.silu(threshold(images)), named("pgd-2"), seed=0)

    def live_after(calls):
        for _ in range(calls):
            evaluator(padded_batches())
        gc.collect()
        things = gc.get_objects()
        return [sum(isinstance(thing, kind) for thing in things) for kind in (tf.Tensor, tf.Graph)]

    before, after = live_after(2), live_after(4)
    assert all(new <= old for new, old in zip(after, before))


def seeds_seen(batch_size, strategy=None, seed=3):
    seen = []

    def record(logits_fn, images, labels, seed):
        tf.py_function(lambda s: seen.extend(map(tuple, s.numpy().tolist())), [seed], [])
        return images

    evaluate(
        threshold,
        padded_batches(batch_size=batch_size),
        {"record": record},
        seed=seed,
        strategy=strategy,
    )
    return seen


def test_every_example_has_its_own_seed_whatever_its_batch_and_replica(mirrored):
    alone = seeds_seen(2)
    assert len(set(alone)) == len(alone) == CLEAN and alone == seeds_seen(2)
    assert not set(alone) & set(seeds_seen(2, seed=4))
    assert set(seeds_seen(4)) == set(seeds_seen(4, mirrored)) == set(alone)


def test_progress_is_told_and_may_interrupt():
    told = []
    evaluate(
        threshold,
        padded_batches(),
        named("fgsm"),
        seed=0,
        on_batch=lambda *progress: told.append(progress),
    )
    assert told == [
        ("clean", 4, None),
        ("clean", 8, None),
        ("clean", 10, None),
        ("fgsm", 4, CLEAN),
        ("fgsm", 8, CLEAN),
    ]

    def stop(name, done, total):
        if (name, done) == ("fgsm", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(threshold, padded_batches(), named("fgsm"), seed=0, on_batch=stop)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    def broken(images):  # at the two brightest images, and in the padding, which is black
        grey = tf.reduce_mean(images, [1, 2, 3], keepdims=True)[:, :, 0, 0]
        return tf.where((grey > 0.75) | (grey == 0), bad, threshold(images))

    with pytest.raises(ValueError, match=r"logits of 3 of 10 examples are not finite \(clean\)"):
        evaluate(broken, padded_batches(), named("fgsm"), seed=0)


def test_logits_that_only_an_attack_makes_non_finite_are_refused_too():
    def fragile(images):
        return (
            threshold(images)
            + tf.reduce_mean(tf.where((images > 0.52) & (images < 0.53), np.inf, 0.0), [1, 2, 3])[
                :, None
            ]
        )

    for name in ("fgsm", "pgd-1x2"):
        attack = {
            "fgsm": attacks.create("fgsm", epsilon=0.075),
            "pgd-1x2": functools.partial(
                attacks.pgd, epsilon=0.075, num_steps=1, restarts=2, random_start=False
            ),
        }[name]
        with pytest.raises(ValueError, match=rf"logits of 1 of 10 .* \({name}\)"):
            evaluate(fragile, padded_batches(), {name: attack}, seed=0)


def test_no_examples_are_refused():
    for data in (
        padded_batches().take(0),
        padded_batches().map(lambda images, labels, mask: (images, labels, mask & False)),
    ):
        with pytest.raises(ValueError, match="no examples"):
            evaluate(threshold, data, named("fgsm"), seed=0)


def test_only_clean_is_no_attack():
    with pytest.raises(ValueError, match="'pgd-2' is None"):
        evaluate(threshold, padded_batches(), {"pgd-2": None}, seed=0)
    with pytest.raises(ValueError, match="'clean'"):
        evaluate(threshold, padded_batches(), {"clean": attacks.fgsm}, seed=0)


def test_batch_statistics_are_left_alone_and_half_precision_counts_the_same():
    tf.keras.utils.set_random_seed(0)
    net = tf.keras.Sequential(
        [
            tf.keras.layers.Conv2D(4, 1, input_shape=(2, 2, 3)),
            tf.keras.layers.BatchNormalization(),
            tf.keras.layers.GlobalAveragePooling2D(),
            tf.keras.layers.Dense(2),
        ]
    )
    before = [v.numpy().copy() for v in net.variables]
    plain = evaluate(lambda x: net(x, training=False), padded_batches(), named("pgd-2"), seed=0)
    for old, variable in zip(before, net.variables):
        np.testing.assert_array_equal(old, variable.numpy())
    half = evaluate(
        lambda x: tf.cast(net(x, training=False), tf.float16),
        padded_batches(),
        named("pgd-2"),
        seed=0,
    )
    assert half == plain


# Dropping what is broken, and going on later.

tf.keras.utils.set_random_seed(0)
CURVED = tiny.network(name="curved")
CENTRE = tf.reduce_mean(
    CURVED(tiny.examples(40)[0], training=False), 0
)  # every class is somebody's


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


@pytest.mark.parametrize("robust_if", ["final", "any_iterate", "best_loss"])
def test_dropping_what_is_broken_gives_the_numbers_of_the_plain_loop(mirrored, robust_if):
    named = several(robust_if)
    plain = Evaluator(curved, named, seed=1, drop=False)(colour_batches(count=32))
    some = plain.correct
    assert 0 < some["both"] < some["clean"] < 32  # there is something to tell apart
    for strategy, batch_size in ((None, 32), (mirrored, 12)):
        dropped = Evaluator(curved, named, seed=1, strategy=strategy)(
            colour_batches(batch_size, 32)
        )
        assert dropped == plain
        assert [o.broken.tolist() for o in dropped.outcomes.values()] == [
            o.broken.tolist() for o in plain.outcomes.values()
        ]


def test_later_stages_attack_only_what_is_left_and_shared_stages_run_once():
    calls = []
    result = Evaluator(curved, several(), seed=1)(
        colour_batches(), on_batch=lambda name, done, total: calls.append(name)
    )
    assert sorted(set(calls)) == ["clean", "pgd-12x3", "pgd-5"]
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


def test_an_evaluation_cut_anywhere_goes_on_to_the_same_numbers(tmp_path):
    evaluator = Evaluator(curved, several(), seed=1, keep=6)
    whole = evaluator(colour_batches())
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


def test_the_state_of_another_evaluation_is_not_used(tmp_path):
    path = str(tmp_path / "state.npz")
    StateFile(path, "one").save({"clean/broken": np.ones(3, bool)})
    assert list(StateFile(path, "one").load()) == ["clean/broken"]
    assert StateFile(path, "another").load() == {}
    (tmp_path / "state.npz").write_bytes(b"cut short")
    assert StateFile(path, "one").load() == {}
    assert os.listdir(tmp_path) == ["state.npz"]


def test_a_state_that_cannot_be_read_is_the_users_to_mend(tmp_path):
    (tmp_path / "state.npz").mkdir()
    state = StateFile(
        str(tmp_path / "state.npz"),
        "one",
        writing=functools.partial(RunFolder(str(tmp_path)).writing, "evaluation_state"),
    )
    with pytest.raises(UserError, match="--model_dir=.*: cannot write evaluation_state: Is a dir"):
        state.load()


def test_the_first_examples_are_kept_with_what_the_attacks_made_of_them():
    result = Evaluator(curved, several(), seed=1, keep=6)(colour_batches())
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
        evaluate(
            curved,
            colour_batches(32, 32).map(lambda images, labels, mask: (images, labels, mask)),
            {"pgd-2": beyond},
            seed=0,
        )


def test_two_attacks_of_one_name_and_images_of_another_scale_are_refused():
    named = {
        "both": attacks.Ensemble({"pgd-2": attacks.create("pgd-2", epsilon=0.1)}),
        "pgd-2": attacks.create("pgd-2", epsilon=0.2),
    }
    with pytest.raises(ValueError, match="two different attacks are called 'pgd-2'"):
        Evaluator(curved, named, seed=0)
    scaled = colour_batches(8, 8).map(lambda images, labels, mask: (255 * images, labels, mask))
    with pytest.raises(tf.errors.InvalidArgumentError, match="images must be within"):
        evaluate(lambda images: curved(images / 255), scaled, several(), seed=0)
