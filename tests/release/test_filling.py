"""Weights of the original release: every name, every value, the same logits."""

import golden_values
import numpy as np
import pytest
import tensorflow as tf
import tf1_files

from sat_tf import models
from sat_tf.release import checkpoint as tf1_checkpoint
from sat_tf.release import filling as tf1_import
from sat_tf.runs import checkpoints, weights

AVERAGED = tf1_checkpoint.AVERAGED

# Blocks a group, and (blocks of the first stage, blocks in all).
RESNETS = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
    "resnext50-32x4d": (3, 4, 6, 3),
    "resnext50-32x8d": (3, 4, 6, 3),
    "resnext152-32x8d": (3, 8, 36, 3),
}
EFFICIENTNETS = {
    "efficientnet-b0": (1, 16),
    "efficientnet-b1": (2, 23),
    "efficientnet-b2": (2, 23),
    "efficientnet-b3": (2, 26),
    "efficientnet-b4": (2, 32),
    "efficientnet-b5": (3, 39),
    "efficientnet-b6": (3, 45),
    "efficientnet-b7": (4, 55),
    "efficientnet-b8": (4, 61),
    "efficientnet-l1": (4, 63),
    "efficientnet-l2": (6, 88),
}
QUICK = ("resnet50", "resnext50-32x4d", "efficientnet-b0", "efficientnet-b1", "efficientnet-l1")


def _expected_names(name, scope="", **kwargs):
    if name in RESNETS:
        return tf1_files.expected_resnet_names(RESNETS[name], **kwargs)
    first_stage, blocks = EFFICIENTNETS[name]
    return tf1_files.expected_efficientnet_names(
        scope, first_stage=first_stage, blocks=blocks, **kwargs
    )


def _weights(model):
    """{(layer, weight): variable} of all but our counters."""
    return {
        (layer.name, weight.name.rpartition("/")[2].split(":")[0]): weight
        for layer in model.layers
        for weight in layer.weights
        if weight.dtype.is_floating
    }


def test_the_tables_cover_both_families():
    # The release has no network of basic blocks, nor of pre-activated ones.
    others = {
        "resnet18",
        "resnet20",
        "resnet32",
        "resnet34",
        "preact-resnet18",
        "wide-resnet-34-10",
    }
    families = ("resnet", "efficientnet")
    assert {*RESNETS, *EFFICIENTNETS} == {
        name for name, row in models.MODELS.items() if row.family in families
    } - others


@pytest.mark.parametrize(
    "name, smoothrelu",
    [
        *(
            pytest.param(name, False, marks=[] if name in QUICK else pytest.mark.slow)
            for name in (*RESNETS, *EFFICIENTNETS)
        ),
        *((name, True) for name in QUICK if name != "efficientnet-l1"),
    ],
)
def test_every_weight_has_its_name(name, smoothrelu):
    """Against the names of tf1_files; and the shapes say which network it is."""
    scope = name.replace("-l", "-bL") if name in EFFICIENTNETS else ""
    model = tf1_files.abstract(
        name, activation="smoothrelu" if smoothrelu else "mish", num_classes=7
    )
    expected = _expected_names(name, scope, smoothrelu=smoothrelu)
    weights = _weights(model)
    assert weights.keys() == expected.keys() and len(set(expected.values())) == len(expected)
    named = tf1_import.variables(model, scope)
    assert {name: id(w) for name, w in named.items()} == {
        expected[key]: id(w) for key, w in weights.items()
    }
    network = tf1_checkpoint.recognise(tf1_files.of_shapes(tf1_files.variable_shapes(model, scope)))
    assert network == tf1_checkpoint.Network(
        family=models.MODELS[name].family,
        scope=scope,
        model=name,
        num_classes=7,
        learns_smoothrelu=smoothrelu,
        has_raw=True,
        has_averaged=False,
    )


def test_shapes_of_some_blocks():
    """Written out by hand from the papers' tables."""
    shapes = tf1_files.variable_shapes(tf1_files.abstract("efficientnet-l1"), "efficientnet-bL1")
    for name, shape in {
        "stem/conv2d/kernel": (3, 3, 3, 128),
        "blocks_3/depthwise_conv2d/depthwise_kernel": (3, 3, 64, 1),
        "blocks_3/se/conv2d/kernel": (1, 1, 64, 16),
        "blocks_3/conv2d/kernel": (1, 1, 64, 64),
        "blocks_3/tpu_batch_normalization_1/gamma": (64,),
        "blocks_4/conv2d/kernel": (1, 1, 64, 384),
        "blocks_4/depthwise_conv2d/depthwise_kernel": (3, 3, 384, 1),
        "blocks_4/se/conv2d/bias": (16,),
        "blocks_4/se/conv2d_1/kernel": (1, 1, 16, 384),
        "blocks_4/conv2d_1/kernel": (1, 1, 384, 96),
        "blocks_4/tpu_batch_normalization_2/moving_mean": (96,),
        "blocks_62/conv2d_1/kernel": (1, 1, 7488, 1248),
        "head/conv2d/kernel": (1, 1, 1248, 4992),
        "head/dense/kernel": (4992, 1000),
    }.items():
        assert shapes[f"efficientnet-bL1/{name}"] == shape, name
    assert not any(n.startswith("efficientnet-bL1/blocks_3/conv2d_1") for n in shapes)
    shapes = tf1_files.variable_shapes(tf1_files.abstract("resnext50-32x8d"))
    assert shapes["group0/block0/conv2/W"] == (3, 3, 8, 256)
    assert shapes["group3/block2/conv2/W"] == (3, 3, 64, 2048)
    assert shapes["group0/block0/convshortcut/W"] == (1, 1, 64, 256)


@pytest.mark.parametrize("case", golden_values.CASES)
def test_names_and_shapes_are_those_of_the_golden_cases(case):
    description, _ = golden_values.load(case)
    name = description["model"]
    model = tf1_files.abstract(name, activation=description["activation"])
    there = tf1_files.golden_shapes(case)
    assert tf1_files.variable_shapes(model, name if name in EFFICIENTNETS else "") == {
        n: tuple(size for size in shape if size != 1) if len(shape) == 5 else shape
        for n, shape in there.items()
    }


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


def _golden(case):
    description, arrays = golden_values.load(case)
    model = models.create(description["model"], activation=description["activation"], image_size=64)
    images = golden_values.images(description) / np.float32(255)
    return model, golden_values.variables(description), images, arrays["logits"]


def _check_logits(model, images, logits):
    np.testing.assert_allclose(
        tf.function(model)(tf.constant(images), training=False), logits, atol=1e-3, rtol=1e-4
    )


@pytest.mark.smoke
@pytest.mark.parametrize("case", golden_values.CASES)
def test_a_tf1_checkpoint_gives_the_original_logits(case, tmp_path):
    model, values, images, logits = _golden(case)
    tf1_files.save(tmp_path / "model.ckpt-7", {**values, **_bookkeeping(values)})
    weights.load_classifier(model, checkpoints.find(str(tmp_path)), channels="rgb")
    _check_logits(model, images, logits)


def test_batch_norms_may_be_vectors():
    """As the graph that trains stores them; the case has (1, 1, 1, 1, C)."""
    model, values, images, logits = _golden("efficientnet-b0_r64")
    assert values["efficientnet-b0/stem/tpu_batch_normalization/beta"].shape == (1, 1, 1, 1, 32)
    vectors = {n: v.reshape(-1) if "normalization" in n else v for n, v in values.items()}
    tf1_import.fill(model, tf1_files.in_memory(vectors))
    _check_logits(model, images, logits)


def test_an_npz_of_tensorpack_and_the_order_of_channels(tmp_path):
    """ResNets see BGR unless told otherwise; names may end in :0."""
    model, values, images, logits = _golden("resnet50_smoothrelu_r64")
    np.savez(
        tmp_path / "model.npz",
        **{
            f"{n}:0" if i % 2 else n: v
            for i, (n, v) in enumerate({**values, **_bookkeeping(values)}.items())
        },
    )
    path = checkpoints.find(str(tmp_path / "model.npz"))
    weights.load_classifier(model, path)
    _check_logits(model, images[..., ::-1], logits)
    default = model.get_layer("conv0").kernel.numpy()
    weights.load_classifier(model, path, channels="bgr")
    np.testing.assert_array_equal(model.get_layer("conv0").kernel, default)
    weights.load_classifier(model, path, channels="rgb")
    np.testing.assert_array_equal(model.get_layer("conv0").kernel, default[:, :, ::-1])


@pytest.mark.parametrize("name", ["resnet101", "efficientnet-b1"])
def test_every_weight_gets_its_values(name):
    """No golden logits here: each weight equals what was drawn for its name."""
    scope = name if name in EFFICIENTNETS else ""
    model = models.create(name, activation="relu", image_size=64, num_classes=10)
    names, weights = _expected_names(name, scope), _weights(model)
    values = tf1_files.drawn({names[key]: weight.shape for key, weight in weights.items()})
    tf1_import.fill(model, tf1_files.in_memory(values), channels="rgb")
    for key, weight in weights.items():
        np.testing.assert_array_equal(weight, values[names[key]], str(key))


@pytest.fixture(scope="module")
def small():
    """EfficientNet-B0 at 16 pixels, its golden shapes, and values with moving averages."""
    model = models.create("efficientnet-b0", image_size=16)
    shapes = tf1_files.golden_shapes("efficientnet-b0_r64")
    return model, tf1_files.drawn({**shapes, **{n + AVERAGED: s for n, s in shapes.items()}})


@pytest.mark.parametrize("averaged", [False, True])
def test_averaged_values_are_taken_when_asked_for(small, averaged, tmp_path):
    model, values = small
    prefix = tf1_files.save(tmp_path / "model.ckpt", values)
    weights.load_classifier(model, prefix, averaged=averaged)
    for name, weight in tf1_import.variables(model, "efficientnet-b0").items():
        other = values[name + AVERAGED * (not averaged)].reshape(weight.shape)
        np.testing.assert_array_equal(
            weight, values[name + AVERAGED * averaged].reshape(weight.shape), name
        )
        assert not np.array_equal(weight, other), name
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
    assert message.endswith(" and 308 more; give --checkpoint_ema=true")
    network = tf1_checkpoint.recognise(only_averaged)
    assert network.has_averaged and not network.has_raw
    tf1_import.fill(model, only_averaged, averaged=True)


def test_resnets_have_no_moving_averages():
    message = tf1_files.refusal(
        tf1_files.abstract("resnet50"),
        tf1_files.of_shapes(tf1_files.golden_shapes("resnet50_silu_r64")),
        averaged=True,
    )
    assert "--checkpoint_ema=true: PATH has no moving average of conv0/W" in message


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_weights_under_a_strategy(mirrored, policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    with mirrored.scope():
        model = models.create("resnet20", activation="smoothrelu", num_classes=5, image_size=8)
    values = tf1_files.drawn(tf1_files.variable_shapes(model))
    tf1_import.fill(model, tf1_files.in_memory(values), channels="rgb")
    for name, weight in tf1_import.variables(model).items():
        for copy in mirrored.experimental_local_results(weight):
            np.testing.assert_array_equal(copy, values[name], name)
