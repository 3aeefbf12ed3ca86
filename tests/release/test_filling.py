"""Weights of the original release: every value, in every form, and the same logits."""

import functools

import golden_values
import networks
import numpy as np
import pytest
import tensorflow as tf
import tf1_files

from sat_tf import models
from sat_tf.release import checkpoint as tf1_checkpoint
from sat_tf.release import filling as tf1_import
from sat_tf.runs import checkpoints, weights

AVERAGED = tf1_checkpoint.AVERAGED


def _bookkeeping(values):
    """What training leaves beside the network's variables."""
    first = next(iter(values))
    slots = {
        f"{first}/{slot}": np.full_like(values[first], np.nan)
        for slot in ("RMSProp", "RMSProp_1", "Momentum")
    }
    return {
        **slots,
        "global_step": np.int64(7),
        "learning_rate": np.float32(0.1),
        "EMA/cost/biased": np.float32(1),
        "EMA/cost/local_step": np.float32(1),
        "tower0/EMA/queue_size": np.float32(2),
    }


@functools.lru_cache(maxsize=2)
def _built(case):
    description, arrays = golden_values.load(case)
    model = models.create(description["model"], activation=description["activation"], image_size=64)
    logits_fn = tf.function(functools.partial(model, training=False))
    images = golden_values.images(description) / np.float32(255)
    return model, logits_fn, golden_values.variables(description), images, arrays["logits"]


def _golden(case):
    """Returns the case's network, of which nothing is left that was filled in before, as a model
    and as a function, its values, images and logits."""
    model, *others = _built(case)
    for weight in model.weights:
        weight.assign(tf.zeros_like(weight))
    return model, *others


def _check_logits(logits_fn, images, logits):
    np.testing.assert_allclose(logits_fn(tf.constant(images)), logits, atol=1e-3, rtol=1e-4)


@pytest.mark.smoke
@pytest.mark.slow  # as a session of TensorFlow 1 writes the checkpoint; smaller ones are read below
@pytest.mark.parametrize("case", golden_values.CASES)
def test_a_tf1_checkpoint_gives_the_original_logits(case, tmp_path):
    model, logits_fn, values, images, logits = _golden(case)
    tf1_files.save(tmp_path / "model.ckpt-7", {**values, **_bookkeeping(values)})
    weights.load_classifier(model, checkpoints.find(str(tmp_path)), channels="rgb")
    _check_logits(logits_fn, images, logits)


@pytest.mark.slow
def test_batch_norms_may_be_vectors():
    """As the graph that trains stores them; the case has (1, 1, 1, 1, C)."""
    model, logits_fn, values, images, logits = _golden("efficientnet-b0_r64")
    assert values["efficientnet-b0/stem/tpu_batch_normalization/beta"].shape == (1, 1, 1, 1, 32)
    vectors = {n: v.reshape(-1) if "normalization" in n else v for n, v in values.items()}
    tf1_import.fill(model, tf1_files.in_memory(vectors))
    _check_logits(logits_fn, images, logits)


@pytest.mark.slow
def test_an_npz_of_tensorpack_and_the_order_of_channels(tmp_path):
    """ResNets see BGR unless told otherwise; names may end in :0."""
    model, logits_fn, values, images, logits = _golden("resnet50_smoothrelu_r64")
    np.savez(
        tmp_path / "model.npz",
        **{
            f"{n}:0" if i % 2 else n: v
            for i, (n, v) in enumerate({**values, **_bookkeeping(values)}.items())
        },
    )
    path = checkpoints.find(str(tmp_path / "model.npz"))
    weights.load_classifier(model, path)
    _check_logits(logits_fn, images[..., ::-1], logits)
    default = model.get_layer("conv0").kernel.numpy()
    weights.load_classifier(model, path, channels="bgr")
    np.testing.assert_array_equal(model.get_layer("conv0").kernel, default)
    weights.load_classifier(model, path, channels="rgb")
    np.testing.assert_array_equal(model.get_layer("conv0").kernel, default[:, :, ::-1])


@pytest.fixture(scope="module")
def small():
    """A small EfficientNet, and values with moving averages."""
    model = networks.small(networks.SMALL["efficientnet"])
    shapes = tf1_files.variable_shapes(model, "efficientnet-b0")
    return model, tf1_files.drawn({**shapes, **{n + AVERAGED: s for n, s in shapes.items()}})


def test_averaged_values_are_taken_when_asked_for(small, tmp_path):
    model, values = small
    prefix = tf1_files.save(tmp_path / "model.ckpt", values)
    for averaged in (False, True):
        weights.load_classifier(model, prefix, averaged=averaged)
        for name, weight in tf1_import.variables(model, "efficientnet-b0").items():
            np.testing.assert_array_equal(weight, values[name + AVERAGED * averaged], name)
            assert not np.array_equal(weight, values[name + AVERAGED * (not averaged)]), name
    network = tf1_checkpoint.recognise(tf1_checkpoint.read(prefix))
    assert network.has_raw and network.has_averaged


def test_the_form_that_is_missing_is_named(small):
    model, values = small
    lacking = "efficientnet-b0/stem/tpu_batch_normalization/moving_mean"
    one_less = tf1_files.in_memory({n: v for n, v in values.items() if n != lacking + AVERAGED})
    assert tf1_files.refusal(model, one_less, averaged=True) == (
        f"--checkpoint_ema=true: PATH has no moving average of {lacking}; "
        "give --checkpoint_ema=false"
    )
    only_averaged = tf1_files.in_memory({n: v for n, v in values.items() if n.endswith(AVERAGED)})
    message = tf1_files.refusal(model, only_averaged)
    assert message.startswith(
        "--checkpoint_ema=false: PATH has no value but a moving average of "
        "efficientnet-b0/stem/conv2d/kernel, "
    )
    others = len(values) // 2 - 3
    assert message.endswith(f" and {others} more; give --checkpoint_ema=true")
    network = tf1_checkpoint.recognise(only_averaged)
    assert network.has_averaged and not network.has_raw
    tf1_import.fill(model, only_averaged, averaged=True)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_weights_under_a_strategy(mirrored, policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    with mirrored.scope():
        model = networks.small(networks.SMALL["resnet"], activation="smoothrelu", image_size=8)
    values = tf1_files.drawn(tf1_files.variable_shapes(model))
    tf1_import.fill(model, tf1_files.in_memory(values), channels="rgb")
    for name, weight in tf1_import.variables(model).items():
        for copy in mirrored.experimental_local_results(weight):
            np.testing.assert_array_equal(copy, values[name], name)
