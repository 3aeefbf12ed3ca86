"""Every weight of the original release's networks: its name, its shape and what is filled in."""

import golden_values
import networks
import numpy as np
import pytest
import tf1_files

from sat_tf import models
from sat_tf.release import checkpoint as tf1_checkpoint
from sat_tf.release import filling as tf1_import

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
# Built anyway for the golden cases.
QUICK = {("resnext50-32x4d", False), ("efficientnet-b0", False)}


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
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for case in (
            *((name, False) for name in (*RESNETS, *EFFICIENTNETS)),
            *((name, True) for name in ("resnet50", "resnext50-32x4d")),
            *((name, True) for name in ("efficientnet-b0", "efficientnet-b1")),
        )
    ],
)
def test_every_weight_has_its_name(name, smoothrelu):
    """Against the names of tf1_files; and the shapes say which network it is."""
    scope = name.replace("-l", "-bL") if name in EFFICIENTNETS else ""
    plain = "swish" if name in EFFICIENTNETS else "silu"
    model = networks.abstract(name, activation="smoothrelu" if smoothrelu else plain)
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
        num_classes=1000,
        learns_smoothrelu=smoothrelu,
        has_raw=True,
        has_averaged=False,
    )


@pytest.mark.parametrize("last", ["linear/W", "efficientnet-b0/head/dense/kernel"])
def test_the_last_layer_says_how_many_classes_there_are(last):
    case = "resnet50_silu_r64" if last == "linear/W" else "efficientnet-b0_r64"
    shapes = tf1_files.golden_shapes(case)
    channels, _ = shapes[last]
    network = tf1_checkpoint.recognise(tf1_files.of_shapes({**shapes, last: (channels, 7)}))
    assert network.num_classes == 7


@pytest.mark.slow
def test_shapes_of_some_blocks_of_the_largest_of_the_paper():
    """Written out by hand from the papers' tables."""
    shapes = tf1_files.variable_shapes(
        networks.abstract("efficientnet-l1", activation="swish"), "efficientnet-bL1"
    )
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


def test_shapes_of_some_blocks_of_a_resnext():
    """The same; fewer blocks than in a row of the table, with its settings else."""
    row = models.MODELS["resnext50-32x8d"].builder
    shapes = tf1_files.variable_shapes(networks.abstract_small(row, blocks=(1, 1, 1, 3)))
    assert shapes["group0/block0/conv2/W"] == (3, 3, 8, 256)
    assert shapes["group3/block2/conv2/W"] == (3, 3, 64, 2048)
    assert shapes["group0/block0/convshortcut/W"] == (1, 1, 64, 256)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow)
        if case in ("resnet50_relu_r64", "resnet50_silu_r64")  # smoothrelu's has the same names
        else case
        for case in golden_values.CASES
    ],
)
def test_names_and_shapes_are_those_of_the_golden_cases(case):
    description, _ = golden_values.load(case)
    name = description["model"]
    model = networks.abstract(name, activation=description["activation"])
    there = tf1_files.golden_shapes(case)
    assert tf1_files.variable_shapes(model, name if name in EFFICIENTNETS else "") == {
        n: tuple(size for size in shape if size != 1) if len(shape) == 5 else shape
        for n, shape in there.items()
    }


@pytest.mark.slow
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
