"""FAB eagerly, as a graph and compiled, in half precision, and what it costs in traces."""

import functools
import itertools

import numpy as np
import pytest
import tensorflow as tf
import tiny
from attacked import op_by_op
from fab_samples import EPSILONS, classifier, lengths, linear, predicted, traced_fab

from sat_tf.attacks import COMPILED_FORMS
from sat_tf.attacks.fab import fab

pytestmark = pytest.mark.smoke


# Each form once a day, and both kinds of FAB; XLA takes seconds for one, so the others are slow.
DAILY = {(False, "none"), (False, "step"), (True, "loop")}
every_kind_and_form = pytest.mark.parametrize(
    "targeted, compiled",
    [
        pytest.param(*pair, marks=[] if pair in DAILY else pytest.mark.slow)
        for pair in itertools.product((False, True), COMPILED_FORMS)
    ],
)


@functools.cache
def eagerly(targeted):
    """Returns settings with which some of the classifier's images break, and the result."""
    norm = "l2" if targeted else "linf"
    settings = dict(
        targeted=targeted, epsilon=EPSILONS[norm], norm=norm, num_steps=3, restarts=2, num_targets=1
    )
    with op_by_op():
        return settings, fab(*classifier(), 2, **settings)


@every_kind_and_form
def test_every_form_agrees_with_the_eager_loop(targeted, compiled):
    logits_fn, images, labels = classifier()
    settings, eager = eagerly(targeted)
    graph = tf.function(lambda x, y, s: fab(logits_fn, x, y, s, compiled=compiled, **settings))
    np.testing.assert_allclose(graph(images, labels, tf.constant(2, tf.int64)), eager, atol=1e-5)
    assert 0.1 < (predicted(logits_fn, eager) != labels).mean() < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("targeted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_part_of_a_larger_program_around_a_traced_network_of_any_batch_size(targeted):
    logits_fn, images, labels = classifier()
    settings = dict(targeted=targeted, epsilon=0.03, num_steps=3, num_targets=2)
    traced = tf.function(logits_fn)
    specification = [tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int32)]
    expected = fab(logits_fn, images, labels, 0, **settings)
    for compiled in (False, True):
        attack = tf.function(
            lambda x, y: fab(traced, x, y, 0, **settings),
            input_signature=specification,
            jit_compile=compiled,
        )
        np.testing.assert_allclose(attack(images, labels), expected, atol=1e-5)


@every_kind_and_form
def test_a_flat_network_does_no_harm(targeted, compiled):
    """No gradient, and classes that are as near as the true one."""
    flat = lambda images: tf.stack([tf.reduce_sum(0 * images, [1, 2, 3])] * 3, -1)
    images = np.full((2, 4, 4, 3), 0.5, "float32")
    attack = tf.function(
        lambda: fab(
            flat,
            images,
            np.zeros(2, "int32"),
            0,
            targeted=targeted,
            epsilon=0.1,
            num_steps=2,
            compiled=compiled,
        )
    )
    np.testing.assert_array_equal(attack(), images)


@pytest.mark.slow
def test_float16_model_is_attacked_in_float32_images():
    images, _ = tiny.examples(32)
    tf.keras.utils.set_random_seed(3)
    whole = tiny.network()
    tf.keras.mixed_precision.set_global_policy("float16")
    half = tiny.network()
    half.set_weights(whole.get_weights())
    assert half(images).dtype == tf.float16
    labels = predicted(half, images)
    for targeted in (False, True):
        found = traced_fab(
            lambda x: half(x, training=False),
            images,
            labels,
            0,
            targeted=targeted,
            epsilon=0.03,
            num_steps=10,
            num_targets=2,
            loss_scale=128.0,
        ).numpy()
        assert found.dtype == np.float32
        assert lengths(found - images, "linf").max() <= 0.03
        assert (predicted(half, found) != labels).mean() > 0.1


@every_kind_and_form
def test_the_network_is_traced_three_times_whatever_the_steps_and_classes(targeted, compiled):
    """For the clean logits; in a step for the gradients of all classes, and for what is found."""
    calls = []

    def logits_fn(images):
        calls.append(images.shape)
        return linear(images)

    for num_steps in (1, 30):
        calls.clear()
        tf.function(
            lambda: fab(
                logits_fn,
                tf.zeros([2, 8, 8, 3]),
                [0, 1],
                0,
                targeted=targeted,
                epsilon=0.1,
                num_steps=num_steps,
                num_targets=1,
                compiled=compiled,
            )
        ).get_concrete_function()
        assert len(calls) == 3
