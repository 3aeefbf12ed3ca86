"""The attack loop eagerly, as a graph and compiled: the same results from all of them."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from attacked import EPSILON, IMAGES, LABELS, conv_net, linear, logits_fn, make_conv_net, op_by_op

from sat_tf.attacks import COMPILED_FORMS, compiled_form, cross_entropy, pgd

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_every_form_agrees_with_the_eager_loop(compiled, restarts):
    settings = dict(epsilon=EPSILON, num_steps=3, clean_start_probability=0.2, restarts=restarts)
    with op_by_op():
        eager = pgd(linear, IMAGES, LABELS, 2, **settings)
    graph = tf.function(lambda x, y, s: pgd(linear, x, y, s, compiled=compiled, **settings))
    np.testing.assert_allclose(graph(IMAGES, LABELS, tf.constant(2, tf.int64)), eager, atol=1e-6)


def test_compiled_forms_reach_the_same_loss_on_a_network():
    none, step, loop = (
        cross_entropy(
            logits_fn(
                tf.function(
                    lambda: pgd(
                        logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=5, compiled=form
                    )
                )()
            ),
            LABELS,
        )
        for form in ("none", "step", "loop")
    )
    np.testing.assert_allclose(step, none, rtol=1e-3)
    np.testing.assert_allclose(loop, none, rtol=1e-3)


@functools.cache
def half_net():
    """The network in half precision."""
    half = make_conv_net("float16")
    half.set_weights(conv_net().get_weights())
    return half


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_float16_model_is_attacked_in_float32_images(compiled):
    half = half_net()
    attack = tf.function(
        lambda: pgd(
            lambda x: half(x, training=False),
            IMAGES,
            LABELS,
            0,
            epsilon=EPSILON,
            num_steps=3,
            loss_scale=128.0,
            compiled=compiled,
        )
    )
    attacked = attack()
    assert attacked.dtype == tf.float32
    loss = lambda x: cross_entropy(logits_fn(x), LABELS).numpy()
    assert (loss(attacked) > loss(IMAGES)).all()


def test_an_attack_may_be_part_of_a_larger_compiled_program():
    attack = tf.function(
        lambda: pgd(
            logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=2, restarts=2, compiled="loop"
        ),
        jit_compile=True,
    )
    assert np.abs(attack().numpy() - IMAGES).max() <= EPSILON + 1e-6


@pytest.mark.parametrize("compiled", COMPILED_FORMS)
def test_batch_size_may_be_unknown_and_every_variable_is_left_bitwise_alone(compiled):
    before = [v.numpy().copy() for v in conv_net().variables]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([None], tf.int32)])
    def attack(images, labels):
        return pgd(
            logits_fn,
            images,
            labels,
            0,
            epsilon=EPSILON,
            num_steps=2,
            restarts=2,
            random_start=False,
            compiled=compiled,
        )

    np.testing.assert_allclose(
        attack(IMAGES, LABELS)[:4], attack(IMAGES[:4], LABELS[:4]), atol=1e-6
    )
    for old, variable in zip(before, conv_net().variables):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.parametrize(
    "xla, device_type, form",
    [
        ("off", "CPU", "none"),
        ("off", "TPU", "none"),
        ("auto", "CPU", "none"),
        ("auto", "GPU", "loop"),
        ("auto", "TPU", "loop"),
        ("on", "CPU", "step"),
        ("on", "GPU", "loop"),
    ],
)
def test_the_form_follows_flag_and_device(xla, device_type, form):
    assert compiled_form(xla, device_type) == form


def test_unknown_flag_values_and_devices_are_refused():
    with pytest.raises(ValueError, match="'yes': allowed are off, auto, on"):
        compiled_form("yes", "CPU")
    with pytest.raises(ValueError, match="'gpu': allowed are CPU, GPU, TPU"):
        compiled_form("auto", "gpu")
