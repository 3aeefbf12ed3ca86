"""Smoothness diagnostics against losses whose gradients are known in closed form."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tiny

from benchmarks.study import numbers
from sat_tf.evaluation import diagnostics

RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.uniform(0.3, 0.7, (6, 4, 4, 1)).astype(np.float32)
LABELS = np.array([0, 1, 0, 1, 1, 0], np.int32)
WEIGHTS = RANDOM.randn(16).astype(np.float32)


def _flat(images):
    return tf.reshape(images, [-1, 16])


def linear(images):
    """Two classes: the margin of class 0 is weights . x."""
    margin = tf.linalg.matvec(_flat(images), WEIGHTS)
    return tf.stack([margin, tf.zeros_like(margin)], -1)


def far_out(margin):
    """Logits on which the cross-entropy of label 0 is the margin, up to exp(-margin).

    cross_entropy is softplus(others - true): far out it is linear, so that gradients of the loss
    are those of `margin` itself.
    """
    return tf.stack([-30.0 - margin, tf.zeros_like(margin)], -1)


ZEROS = np.zeros(6, np.int32)


@pytest.mark.smoke
def test_attack_losses_rise_with_the_steps_and_have_static_shape():
    model = tiny.network()
    images, labels = tiny.examples(16)
    losses = tf.function(
        lambda: diagnostics.attack_losses(
            lambda x: model(x, training=False) * 20,
            images,
            labels,
            3,
            epsilon=0.1,
            steps=(1, 5, 20),
        )
    )
    assert losses.get_concrete_function().output_shapes == [3]
    values = losses().numpy()
    clean = tf.keras.losses.SparseCategoricalCrossentropy(True)(labels, model(images) * 20).numpy()
    assert clean < values[0] <= values[1] + 1e-4 and values[1] <= values[2] + 1e-4


def test_on_a_linear_model_one_step_is_as_good_as_twenty():
    # A step of epsilon from a random start need not reach the corner of the ball, and 20 steps of
    # epsilon / 20 in the same direction reach no further.
    losses = diagnostics.attack_losses(linear, IMAGES, LABELS, 0, epsilon=0.1).numpy()
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)


def test_a_kinked_loss_shows_a_gap_between_one_step_and_twenty():
    def ridge(images):  # highest on the surface mean |x - 0.5| = 0, which long steps leap over
        return far_out(-100 * tf.reduce_sum(tf.abs(_flat(images) - 0.5), -1))

    images = np.full((6, 4, 4, 1), 0.5, np.float32)
    one, *_, twenty = diagnostics.attack_losses(ridge, images, ZEROS, 0, epsilon=0.1).numpy()
    assert twenty > one + 10


def test_a_linear_model_never_flips_a_sign():
    flips = diagnostics.sign_flip_rate(linear, IMAGES, LABELS, 0, epsilon=0.1, num_steps=5)
    assert flips["per_step"].shape == [4]
    np.testing.assert_array_equal(flips["per_step"], np.zeros(4))
    assert float(flips["mean"]) == 0 and float(flips["zero_share"]) == 0


def test_a_peak_between_the_iterates_flips_every_sign_and_dead_pixels_are_left_out():
    def peaked(images):  # pulls the first 12 pixels to 0.5; 4 have no gradient
        return far_out(-tf.reduce_sum(tf.square(_flat(images)[:, :12] - 0.5), -1))

    images = np.full((6, 4, 4, 1), 0.5, np.float32)
    # Steps of 1/255 from within 2.5 of them: three at most, and a pixel oscillates about 0.5.
    flips = diagnostics.sign_flip_rate(peaked, images, ZEROS, 0, epsilon=2.5 / 255, num_steps=8)
    np.testing.assert_allclose(flips["zero_share"], 4 / 16, atol=1e-6)
    per_step = flips["per_step"].numpy()
    assert 0.2 < per_step[0] < 0.6 and (per_step[3:] == 1).all()
    np.testing.assert_allclose(flips["mean"], per_step.mean(), rtol=1e-5)


def test_a_gradient_without_sign_at_all_gives_nan_not_zero():
    flips = diagnostics.sign_flip_rate(
        lambda images: linear(images) * 0.0, IMAGES, LABELS, 0, epsilon=0.1, num_steps=3
    )
    assert np.isnan(flips["mean"]) and float(flips["zero_share"]) == 1


def test_the_gradient_of_a_linear_margin_does_not_change():
    def margin(images):
        return far_out(tf.linalg.matvec(_flat(images), WEIGHTS))

    rates = diagnostics.gradient_lipschitz(margin, IMAGES, ZEROS, 0)
    for name in ("mean", "quantile_90", "relative_mean", "relative_quantile_90"):
        assert float(rates[name]) < 1e-3
    assert float(rates["zero_share"]) == 0


@pytest.mark.smoke
def test_a_quadratic_has_its_curvature_as_lipschitz_constant():
    def quadratic(images):  # gradient 6 (x - 0.2): it changes at rate 6 everywhere
        return far_out(3 * tf.reduce_sum(tf.square(_flat(images) - 0.2), -1))

    rates = tf.function(
        lambda: diagnostics.gradient_lipschitz(
            quadratic, IMAGES, ZEROS, 0, radius=0.05, directions=3
        )
    )()
    np.testing.assert_allclose(rates["mean"], 6, rtol=1e-3)
    np.testing.assert_allclose(rates["quantile_90"], 6, rtol=1e-3)
    sizes = np.linalg.norm(6 * (IMAGES.reshape(6, 16) - 0.2), axis=1)
    np.testing.assert_allclose(rates["relative_mean"], (6 / sizes).mean(), rtol=1e-3)
    np.testing.assert_allclose(
        rates["relative_quantile_90"], np.quantile(6 / sizes, 0.9), rtol=1e-3
    )


def test_a_jump_counts_the_more_the_smaller_the_radius():
    def kinked(images):
        return far_out(tf.reduce_sum(tf.abs(_flat(images) - 0.5), -1))

    images = np.full((6, 4, 4, 1), 0.5, np.float32)
    near, far = (
        float(diagnostics.gradient_lipschitz(kinked, images, ZEROS, 0, radius=radius)["mean"])
        for radius in (0.01, 0.1)
    )
    assert near == pytest.approx(10 * far, rel=1e-3)


def test_examples_without_gradient_are_left_out_of_the_relative_form_and_counted():
    rates = diagnostics.gradient_lipschitz(lambda images: linear(images) * 0.0, IMAGES, LABELS, 0)
    assert float(rates["zero_share"]) == 1 and float(rates["mean"]) == 0
    assert np.isnan(rates["relative_mean"]) and np.isnan(rates["relative_quantile_90"])


@pytest.mark.parametrize(
    "call",
    [
        lambda: diagnostics.sign_flip_rate(linear, IMAGES, LABELS, 0, epsilon=0.1, num_steps=1),
        lambda: diagnostics.gradient_lipschitz(linear, IMAGES, LABELS, 0, radius=0.0),
        lambda: diagnostics.gradient_lipschitz(linear, IMAGES, LABELS, 0, directions=0),
        lambda: diagnostics.sign_flip_rate(
            lambda x: tf.zeros([6, 2]), IMAGES, LABELS, 0, epsilon=0.1
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(call):
    with pytest.raises(ValueError, match="give|not differentiable"):
        call()


@functools.cache
def measured(loss_scale=1.0):
    return diagnostics.measure(linear, IMAGES, LABELS, seed=0, epsilon=0.1, loss_scale=loss_scale)


def test_all_of_it_is_a_flat_dict_of_floats_of_which_studies_show_each():
    found = measured()
    assert all(isinstance(value, float) for value in found.values())
    assert set(found) == set(numbers.DIAGNOSTICS)
    assert found["attack_loss_gap"] == pytest.approx(
        found["attack_loss_20"] - found["attack_loss_1"], abs=1e-6
    )
    assert found["sign_flip_rate"] == 0


def test_the_loss_scale_keeps_small_gradients_and_is_taken_out_again():
    def half(images):  # so sure of class 0 that float16 rounds the loss's gradient to zero
        return tf.cast(tf.cast(linear(images), tf.float16), tf.float32) + tf.constant([22.0, 0.0])

    assert measured() == pytest.approx(measured(128.0), rel=1e-6, nan_ok=True)
    zeros = [
        float(
            diagnostics.sign_flip_rate(
                half, IMAGES, ZEROS, 0, epsilon=0.1, num_steps=2, loss_scale=scale
            )["zero_share"]
        )
        for scale in (1.0, 2.0**24)
    ]
    assert zeros == [1.0, 0.0]
