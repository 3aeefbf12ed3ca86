"""Parity with the original TensorFlow 1 networks, weights and input regenerated."""

import functools

import golden_values
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks, models

pytestmark = pytest.mark.smoke


@functools.lru_cache(maxsize=1)
def _restored(case):
    """Returns images -> logits of a case's network, the model and what the case holds."""
    description, arrays = golden_values.load(case)
    model = models.create(
        description["model"],
        activation=description["activation"],
        image_size=description["resolution"],
        batch_norm_epsilon=description["batch_norm_epsilon"],
    )
    golden_values.fill(model, description)
    images = tf.constant(golden_values.images(description) / np.float32(255.0))
    return tf.function(lambda x: model(x, training=False)), model, images, description, arrays


def test_every_case_is_there():
    assert golden_values.CASES == [
        "efficientnet-b0_r64",
        "resnet50_relu_r64",
        "resnet50_silu_r64",
        "resnet50_smoothrelu_r64",
        "resnext50-32x4d_silu_r64",
    ]


# One of a family that is quick to build; the others differ in rows that test_parameters.py counts.
DAILY = ("resnet50_silu_r64",)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case in DAILY else pytest.mark.slow)
        for case in golden_values.CASES
    ],
)
def test_logits_equal_the_original(case):
    logits_fn, model, images, description, arrays = _restored(case)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    assert trainable == description["trainable_parameters"]
    np.testing.assert_allclose(logits_fn(images), arrays["logits"], atol=1e-3, rtol=1e-4)


@pytest.mark.slow
def test_attack_losses_equal_the_original():
    """The step is max(step, epsilon / steps), which the original enforces: 4/3 grey levels."""
    logits_fn, _, images, description, arrays = _restored("resnet50_silu_r64")
    (attack,) = description["attack"]
    labels, epsilon = tf.constant(attack["labels"]), attack["epsilon"] / 255
    for steps, expected in enumerate(attack["losses"]):
        adversarial = (
            images
            if steps == 0
            else attacks.pgd(
                logits_fn,
                images,
                labels,
                tf.constant([0, 0]),
                epsilon=epsilon,
                step_size=epsilon / attack["num_iter"],
                num_steps=steps,
                random_start=False,
            )
        )
        logits = logits_fn(adversarial)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        np.testing.assert_allclose(losses, expected, rtol=1e-4)
    np.testing.assert_allclose(logits, arrays["attack_3iter_logits_after"], atol=5e-2, rtol=1e-3)
    np.testing.assert_allclose(
        255 * tf.reduce_max(tf.abs(adversarial - images), [1, 2, 3]),
        attack["linf_in_pixel_units"],
        rtol=1e-4,
    )
