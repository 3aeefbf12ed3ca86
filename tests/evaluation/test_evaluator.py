"""Evaluation: exact counts, on models whose answers are known beforehand."""

import functools
import gc

import numpy as np
import pytest
import tensorflow as tf
from greys import CLEAN, EPSILON, ROBUST, padded_batches, threshold

from sat_tf import attacks
from sat_tf.evaluation import Evaluator, Result

pytestmark = pytest.mark.smoke


def named(*names, form="none"):
    # Steps that cross the ball, so that every start ends in the same corner.
    return {
        name: attacks.create(name, epsilon=EPSILON, step_size=2 * EPSILON, compiled=form)
        for name in names
    }


def evaluate(logits_fn, batches, attacks, *, seed, strategy=None):
    return Evaluator(logits_fn, attacks, seed=seed, strategy=strategy)(batches)


def counting(logits_fn):
    def counted(images):
        counted.calls += 1
        return logits_fn(images)

    counted.calls = 0
    return counted


@pytest.mark.parametrize(
    "batch_size",
    [4, 16, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 10))],  # which pad none
)
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


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=[] if form == "none" else pytest.mark.slow)
        for form in attacks.COMPILED_FORMS
    ],
)
def test_two_replicas_count_as_one(mirrored, form):
    names = named("fgsm", "pgd-3", "pgd-2x2", form=form)
    one = evaluate(threshold, padded_batches(), names, seed=0)
    two = evaluate(threshold, padded_batches(), names, seed=0, strategy=mirrored)
    assert one == two == Result(10, {"clean": CLEAN, **dict.fromkeys(names, ROBUST)})


def test_traces_grow_neither_with_batches_nor_with_steps(mirrored):
    for batch_size, steps in ((2, 1), (10, 30)):
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
    evaluator, told = Evaluator(threshold, named("fgsm"), seed=0), []
    evaluator(padded_batches(), on_batch=lambda *progress: told.append(progress))
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
        evaluator(padded_batches(), on_batch=stop)


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
