"""What does not fit a checkpoint of the original release is refused in full, before any weight.

Most checkpoints here have names and shapes only: reading a value from one fails the test.
"""

import re

import networks
import numpy as np
import pytest
import tensorflow as tf
import tf1_files

from sat_tf import models
from sat_tf.release import filling as tf1_import

RESNET50 = tf1_files.golden_shapes("resnet50_silu_r64")
LISTS = r"; only in the checkpoint: .*; only in the model: .*; other shapes: .*"


@pytest.mark.parametrize(
    "model, settings, case, message",
    [
        pytest.param(
            "resnet101",
            {},
            "resnet50_silu_r64",
            r"--model=resnet101: PATH is a checkpoint of resnet50; give --model=resnet50; only in "
            r"the "
            r"checkpoint: none; only in the model: group2/block6/conv1/W, "
            r"group2/block6/conv1/bn/gamma, "
            r"group2/block6/conv1/bn/beta and 252 more; other shapes: none",
            marks=pytest.mark.slow,
        ),
        (
            "resnet50",
            {},
            "resnext50-32x4d_silu_r64",
            r"--model=resnet50: PATH is a checkpoint of resnext50-32x4d; give "
            r"--model=resnext50-32x4d; "
            r"only in the checkpoint: none; only in the model: none; other shapes: "
            r"group0/block0/conv1/W \(there \(1, 1, 64, 128\), here \(1, 1, 64, 64\)\), .* more",
        ),
        pytest.param(
            "resnext50-32x8d",
            {},
            "resnext50-32x4d_silu_r64",
            "--model=resnext50-32x8d: .* give --model=resnext50-32x4d" + LISTS,
            marks=pytest.mark.slow,
        ),
        (
            "resnet50",
            {},
            "efficientnet-b0_r64",
            "--model=resnet50: PATH is a checkpoint of efficientnet-b0; give "
            "--model=efficientnet-b0" + LISTS,
        ),
        (
            "efficientnet-b0",
            {},
            "resnet50_silu_r64",
            "--model=efficientnet-b0: PATH is a checkpoint of resnet50; give --model=resnet50"
            + LISTS,
        ),
        pytest.param(
            "efficientnet-b1",
            {},
            "efficientnet-b0_r64",
            "--model=efficientnet-b1: .* give --model=efficientnet-b0; .* only in the model: "
            r"efficientnet-b0/blocks_\d+/.*",
            marks=pytest.mark.slow,
        ),
        (
            "resnet50",
            {"num_classes": 10},
            "resnet50_silu_r64",
            r"--num_classes=10: PATH has 1000 classes; give --num_classes=1000; only in the "
            r"checkpoint: "
            r"none; only in the model: none; other shapes: linear/W \(there \(2048, 1000\), here "
            r"\(2048, "
            r"10\)\), linear/b \(there \(1000,\), here \(10,\)\)",
        ),
        (
            "resnet50",
            {"activation": "relu"},
            "resnet50_smoothrelu_r64",
            r"--activation=relu: PATH has learnt smoothrelu; give --activation=smoothrelu; only "
            r"in the "
            r"checkpoint: conv0/smoothrelu_beta, .* and 46 more; only in the model: none; .*",
        ),
        pytest.param(
            "resnet50",
            {"activation": "smoothrelu"},
            "resnet50_relu_r64",
            r"--activation=smoothrelu: PATH has learnt no activation; give --activation=swish, or "
            r".*"
            r"only in the model: conv0/smoothrelu_beta, .* and 46 more; other shapes: none",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "resnet101",
            {"num_classes": 5, "activation": "relu"},
            "resnet50_smoothrelu_r64",
            r"--model=resnet101 --num_classes=5 --activation=relu: PATH is a checkpoint of "
            r"resnet50 and "
            r"has 1000 classes and has learnt smoothrelu; give --model=resnet50 --num_classes=1000 "
            r"--activation=smoothrelu; .*",
            marks=pytest.mark.slow,
        ),
        (
            "resnet18",
            {"image_size": 64},
            "resnet50_silu_r64",
            "--model=resnet18: .* give --model=resnet50" + LISTS,
        ),
    ],
)
def test_another_network_is_refused_by_its_cause(model, settings, case, message):
    """Nothing is read, so nothing can have been assigned."""
    checkpoint = tf1_files.of_shapes(tf1_files.golden_shapes(case))
    refusal = tf1_files.refusal(networks.abstract(model, **settings), checkpoint)
    assert re.fullmatch(message, refusal), refusal


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"conv0/W": None},
            "only in the checkpoint: none; only in the model: conv0/W; other shapes: none",
        ),
        ({"linear/b": None}, "only in the model: linear/b;"),
        ({"group0/block0/conv1/b": (64,)}, "only in the checkpoint: group0/block0/conv1/b;"),
        ({"group0/block0/conv1/alpha": ()}, "only in the checkpoint: group0/block0/conv1/alpha;"),
        ({"head2/W": (2048, 5)}, "only in the checkpoint: head2/W;"),
        (
            {"linear/W": None, "linear/W/Momentum": (2048, 1000)},
            "only in the checkpoint: linear/W/Mom",
        ),
        (
            {"conv0/W": (3, 3, 3, 64)},
            "other shapes: conv0/W (there (3, 3, 3, 64), here (7, 7, 3, 64))",
        ),
        ({"conv0/W": (7, 7, 1, 3, 64)}, "other shapes: conv0/W (there (7, 7, 1, 3, 64), here"),
        ({"conv0/bn/gamma": (8, 8)}, "other shapes: conv0/bn/gamma (there (8, 8), here (64,))"),
    ],
)
def test_what_does_not_fit_is_listed(changes, message):
    shapes = {n: s for n, s in {**RESNET50, **changes}.items() if s is not None}
    refusal = tf1_files.refusal(networks.abstract("resnet50"), tf1_files.of_shapes(shapes))
    assert refusal.startswith("--init_checkpoint=PATH: does not fit resnet50; ")
    assert message in refusal


def test_resnets_have_no_moving_averages():
    message = tf1_files.refusal(
        networks.abstract("resnet50"),
        tf1_files.of_shapes(tf1_files.golden_shapes("resnet50_silu_r64")),
        averaged=True,
    )
    assert "--checkpoint_ema=true: PATH has no moving average of conv0/W" in message


def test_models_of_others_are_refused():
    inputs = tf.keras.Input((8, 8, 3))
    nested = tf.keras.Sequential([tf.keras.layers.Flatten(), tf.keras.layers.Dense(4, name="a")])
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1000)(nested(inputs)), name="mine")
    refusal = tf1_files.refusal(model, tf1_files.of_shapes(RESNET50))
    assert refusal.startswith("--model=mine: PATH is a checkpoint of resnet50; ")


@pytest.fixture(scope="module")
def small():
    """A small ResNet, and values for all its variables."""
    model = models.create("resnet20", num_classes=5, image_size=8)
    return model, tf1_files.drawn(tf1_files.variable_shapes(model))


@pytest.mark.parametrize("name", ["conv0/bn/variance/EMA", "linear/b"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_before_any_is_taken(small, name, value):
    model, values = small
    values = {**values, name: values[name].copy()}
    values[name][-1] = value
    before = model.get_weights()
    refusal = tf1_files.refusal(model, tf1_files.in_memory(values))
    assert f"--init_checkpoint=PATH: {name} has values that are NaN or infinite" in refusal
    for weight, same in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize(
    "changed, problem",
    [
        (np.zeros(5, np.int32), "is int32"),
        (np.array(["a"] * 5), "is <U1"),
        (np.full(5, 1e300), "has values that are NaN or infinite"),
    ],
)
def test_values_of_other_types_are_refused(small, changed, problem):
    model, values = small
    values = {**values, "linear/b": changed}
    assert f"linear/b {problem}" in tf1_files.refusal(model, tf1_files.in_memory(values))


def test_half_precision_is_widened(small):
    model, values = small
    values = {
        **values,
        "linear/b": values["linear/b"].astype(tf.bfloat16.as_numpy_dtype),
        "linear/W": values["linear/W"].astype(np.float16),
    }
    tf1_import.fill(model, tf1_files.in_memory(values))
    np.testing.assert_array_equal(model.get_layer("linear").bias, values["linear/b"].astype("f4"))


@pytest.mark.parametrize(
    "case, model, channels, message",
    [
        (
            "efficientnet-b0_r64",
            "efficientnet-b0",
            "bgr",
            "--checkpoint_channels=bgr: PATH is an EfficientNet",
        ),
        (
            "resnet50_silu_r64",
            "resnet50",
            "grb",
            "--checkpoint_channels=grb: unknown; give one of rgb",
        ),
    ],
)
def test_channel_orders_that_cannot_be(case, model, channels, message):
    checkpoint = tf1_files.of_shapes(tf1_files.golden_shapes(case))
    assert message in tf1_files.refusal(networks.abstract(model), checkpoint, channels=channels)
