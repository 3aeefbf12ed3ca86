"""An eager call is traced once, gives what it gave op by op, and takes nothing stale."""

import functools
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tiny
from attacked import EPSILON, IMAGES, LABELS, TEMPLATES, Counting, linear, logits_fn, op_by_op

from sat_tf import attacks
from sat_tf.attacks import tracing
from sat_tf.errors import UserError

pytestmark = [pytest.mark.smoke, pytest.mark.slow]

attack = functools.partial(attacks.pgd, epsilon=EPSILON, num_steps=2)


@pytest.mark.parametrize(
    "name", ["fgsm", "pgd-3x2", "cw-3", "apgd-ce-3", "apgd-t-3", "fab-t-3", "square-20"]
)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_eager_call_gives_what_it_gives_op_by_op(name, norm):
    search = attacks.create(name, epsilon=EPSILON, norm=norm, num_classes=2)
    labels = linear(IMAGES).numpy().argmax(-1)
    traced = search(linear, IMAGES, labels, 3)
    with op_by_op():
        eager = search(linear, IMAGES, labels, 3)
    np.testing.assert_allclose(traced, eager, atol=1e-6)
    assert (traced.numpy() != IMAGES).any() or name == "fab-t-3"


def test_the_network_is_traced_once_for_all_calls_and_steps():
    counting = Counting(linear)
    search = attacks.create("pgd-30", epsilon=EPSILON)
    results = [search(counting, IMAGES, LABELS, seed).numpy() for seed in (1, 2, 1)]
    assert counting.calls == 1
    np.testing.assert_array_equal(results[0], results[2])
    assert (results[0] != results[1]).any()
    search(counting, IMAGES[:4], LABELS[:4], 0)  # another shape is another graph
    search(counting, IMAGES, LABELS, 0)
    assert counting.calls == 2


def test_functions_and_lambdas_that_are_made_anew_are_the_same_attack_and_network():
    counting = Counting(linear)
    for seed in range(3):
        attacks.pgd(
            lambda images: counting(images), IMAGES, LABELS, seed, epsilon=EPSILON, num_steps=2
        )
        attacks.create("pgd-2", epsilon=EPSILON)(
            functools.partial(Counting.__call__, counting), IMAGES, LABELS, seed
        )
    assert counting.calls == 2  # of two kinds of function


def test_another_setting_is_another_attack():
    rising = lambda images: linear(images)[:, :2]
    grey, zeros = 0.5 + 0 * IMAGES, 0 * LABELS
    one, two = (
        attack(rising, grey, zeros, 0, step_size=size, random_start=False)
        for size in (0.001, 0.002)
    )
    np.testing.assert_allclose(2 * (one - 0.5), two - 0.5, atol=1e-6)
    three = attack(linear, IMAGES, LABELS, 0, loss=lambda logits, labels: logits[:, 0])
    four = attack(linear, IMAGES, LABELS, 0, loss=lambda logits, labels: logits[:, 1])
    assert (three != four).numpy().any()


# What changes between calls.


def expected(weights):
    with op_by_op():
        return attack(
            lambda images: tf.reshape(images, [-1, 192]) @ weights, IMAGES, LABELS, 0
        ).numpy()


def test_variables_are_read_at_each_call():
    weights = tf.Variable(TEMPLATES)
    network = lambda images: tf.reshape(images, [-1, 192]) @ weights
    before = attack(network, IMAGES, LABELS, 0)
    np.testing.assert_allclose(before, expected(TEMPLATES), atol=1e-6)
    weights.assign(-TEMPLATES)
    after = attack(network, IMAGES, LABELS, 0)
    np.testing.assert_allclose(after, expected(-TEMPLATES), atol=1e-6)
    assert np.abs(after - before).max() > EPSILON


MODEL = None  # what a notebook sets


def of_module(images):
    return MODEL(images)


def outer(images):
    return of_module(images)


def test_a_name_that_stands_for_another_network_is_another(monkeypatch):
    def by_closure(images):
        return network(images)

    for weights in (TEMPLATES, -TEMPLATES):
        network = lambda images, weights=weights: tf.reshape(images, [-1, 192]) @ weights
        monkeypatch.setitem(globals(), "MODEL", network)
        for function in (by_closure, of_module, outer, functools.partial(outer)):
            found = attack(function, IMAGES, LABELS, 0)
            np.testing.assert_allclose(found, expected(weights), atol=1e-6)


def test_an_array_or_a_list_that_is_changed_in_place_is_seen():
    weights, factors = TEMPLATES.copy(), [1.0]
    network = lambda images: tf.reshape(images, [-1, 192]) @ (factors[0] * weights)
    attack(network, IMAGES, LABELS, 0)
    weights *= -1
    np.testing.assert_allclose(attack(network, IMAGES, LABELS, 0), expected(-TEMPLATES), atol=1e-6)
    factors[0] = -1.0
    np.testing.assert_allclose(attack(network, IMAGES, LABELS, 0), expected(TEMPLATES), atol=1e-6)


# What it costs.


@pytest.mark.slow
def test_models_can_be_freed_and_few_graphs_are_kept():
    model = tiny.network(activation=functools.partial(tf.keras.layers.Activation, "relu"))
    attack(functools.partial(model, training=False), IMAGES, LABELS, 0)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    for number in range(tracing.KEPT + 2):
        attack(linear, IMAGES[:1], LABELS[:1], 0, step_size=number / 1000)
    assert len(tracing._traces) == tracing.KEPT


def test_a_tape_around_the_call_has_no_part_in_it():
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        found = attack(logits_fn, images, LABELS, 0)
        loss = tf.reduce_sum(logits_fn(found))
    assert tape.gradient(loss, images) is None
    assert np.isfinite(found).all()


def test_a_network_without_variables_yet_is_attacked():
    model = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(4)])
    found = attack(model, IMAGES, LABELS, 0)
    with op_by_op():
        np.testing.assert_allclose(attack(model, IMAGES, LABELS, 0), found, atol=1e-6)


# What cannot be traced.


@pytest.mark.parametrize(
    "only_eager",
    [
        lambda images: linear(images.numpy()) + 0 * linear(images),
        lambda images: linear(np.asarray(images)) + 0 * linear(images),
        lambda images: linear(images) if tf.reduce_max(images) > -1 else None,
    ],
)
def test_a_function_that_only_runs_eagerly_is_refused_with_the_way_out(only_eager):
    with pytest.raises(UserError, match="logits_fn cannot be traced .*run_functions_eagerly"):
        attack(only_eager, IMAGES, LABELS, 0)
    with op_by_op():
        assert attack(only_eager, IMAGES, LABELS, 0).shape == IMAGES.shape


def test_other_mistakes_within_the_network_stay_what_they_are():
    with pytest.raises(AttributeError, match="nosuch"):
        attack(lambda images: images.nosuch, IMAGES, LABELS, 0)
