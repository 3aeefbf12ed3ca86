"""The EfficientNets: scaling, names, shapes, initial values, stochastic depth."""

import functools

import networks
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import models
from sat_tf.models import efficientnet


@pytest.mark.parametrize(
    "filters, width, expected",
    [
        (32, 1.0, 32),
        (32, 1.1, 32),
        (16, 1.4, 24),
        (24, 1.4, 32),
        (1280, 1.1, 1408),
        (1280, 3.9, 4992),
        (32, 3.9, 128),
        (16, 3.9, 64),
        (320, 3.9, 1248),
        (8, 0.1, 8),
        (18, 1.0, 24),
    ],
)
def test_round_filters(filters, width, expected):
    assert efficientnet.round_filters(filters, width) == expected


# Filters of the stem and the head, blocks of each stage.
SCALED = {
    "efficientnet-b0": (32, 1280, (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet-b1": (32, 1280, (2, 3, 3, 4, 4, 5, 2)),
    "efficientnet-b2": (32, 1408, (2, 3, 3, 4, 4, 5, 2)),
    "efficientnet-b3": (40, 1536, (2, 3, 3, 5, 5, 6, 2)),
    "efficientnet-b4": (48, 1792, (2, 4, 4, 6, 6, 8, 2)),
    "efficientnet-b5": (48, 2048, (3, 5, 5, 7, 7, 9, 3)),
    "efficientnet-b6": (56, 2304, (3, 6, 6, 8, 8, 11, 3)),
    "efficientnet-b7": (64, 2560, (4, 7, 7, 10, 10, 13, 4)),
    "efficientnet-b8": (72, 2816, (4, 8, 8, 11, 11, 15, 4)),
    "efficientnet-l1": (128, 4992, (4, 8, 8, 12, 12, 15, 4)),
    "efficientnet-l2": (136, 5504, (6, 11, 11, 16, 16, 22, 6)),
}


def test_every_efficientnet_is_in_the_table():
    assert set(SCALED) == {
        name for name, row in models.MODELS.items() if row.family == "efficientnet"
    }


@pytest.mark.parametrize("name", SCALED)
def test_width_and_depth(name):
    stem, head, repeats = SCALED[name]
    scale = models.MODELS[name].builder.keywords
    assert efficientnet.round_filters(32, scale["width"]) == stem
    assert efficientnet.round_filters(1280, scale["width"]) == head
    stages = [stage.filters for stage, _ in efficientnet._scaled_blocks(**scale)]
    assert tuple(stages.count(filters) for filters in dict.fromkeys(stages)) == repeats


def test_filters_of_l1_stages():
    blocks = efficientnet._scaled_blocks(3.9, 3.7)
    assert list(dict.fromkeys(stage.filters for stage, _ in blocks)) == [
        64,
        96,
        160,
        312,
        440,
        752,
        1248,
    ]


def test_names_and_block_order():
    names = [layer.name for layer in networks.abstract("efficientnet-b0").layers]
    assert names[:5] == ["images", "input_normalization", "stem_conv", "stem_bn", "stem_activation"]
    block = [name.removeprefix("blocks_2_") for name in names if name.startswith("blocks_2_")]
    assert block == [
        "expand_conv",
        "expand_bn",
        "expand_activation",
        "depthwise_conv",
        "depthwise_bn",
        "depthwise_activation",
        "se_squeeze",
        "se_reduce",
        "se_activation",
        "se_expand",
        "se_gate",
        "project_conv",
        "project_bn",
        "stochastic_depth",
        "add",
    ]
    assert "blocks_0_expand_conv" not in names and "blocks_0_depthwise_conv" in names
    assert names[-6:] == [
        "head_conv",
        "head_bn",
        "head_activation",
        "pooled_features",
        "dropout",
        "linear",
    ]


def test_squeeze_width_comes_from_the_blocks_input():
    model = networks.abstract("efficientnet-b0")
    for block, hidden in ((0, 8), (1, 4), (2, 6), (15, 48)):
        assert model.get_layer(f"blocks_{block}_se_reduce").filters == hidden
        assert model.get_layer(f"blocks_{block}_se_reduce").use_bias


@pytest.mark.parametrize("size, last", [(224, 7), (33, 2), (8, 1)])
def test_same_padding_at_any_size(size, last):
    if size == 224:
        model, filters = networks.abstract("efficientnet-b0"), 1280
    else:
        small = networks.SMALL["efficientnet"]
        model, filters = networks.abstract_small(small, image_size=size), 320
    assert model.get_layer("head_activation").output.shape == (None, last, last, filters)


def test_stochastic_depth_on_identity_blocks_only():
    model = networks.abstract("efficientnet-b0")
    found = {
        layer.name: layer.survival
        for layer in model.layers
        if layer.name.endswith("stochastic_depth")
    }
    identity = (2, 4, 6, 7, 9, 10, 12, 13, 14)
    assert found == {
        f"blocks_{i}_stochastic_depth": pytest.approx(1 - 0.2 * i / 16) for i in identity
    }
    certain = networks.abstract_small(
        networks.SMALL["efficientnet"], survival_probability=1.0, dropout_rate=0.0
    )
    assert not [
        layer.name
        for layer in certain.layers
        if layer.name.endswith("stochastic_depth") or layer.name == "dropout"
    ]


def test_initial_values():
    model = models.create("efficientnet-b0", image_size=32)
    project = model.get_layer("blocks_11_project_conv").kernel.numpy()
    assert np.std(project) == pytest.approx(np.sqrt(2 / 192), rel=0.02)
    assert np.max(np.abs(project)) > 3 * np.std(project)  # not truncated
    depthwise = model.get_layer("blocks_13_depthwise_conv").depthwise_kernel.numpy()
    assert np.std(depthwise) == pytest.approx(np.sqrt(2 / 25), rel=0.03)
    linear = model.get_layer("linear").kernel.numpy()
    assert np.max(np.abs(linear)) == pytest.approx(1 / np.sqrt(1000), rel=1e-3)
    assert np.std(linear) == pytest.approx(1 / np.sqrt(3000), rel=0.01)
    for layer in model.layers:
        if layer.name.endswith("_bn"):
            np.testing.assert_array_equal(layer.gamma, 1.0)


@pytest.mark.parametrize(
    "create",
    [
        functools.partial(networks.small, networks.SMALL["efficientnet"]),
        pytest.param(functools.partial(models.create, "efficientnet-b0"), marks=pytest.mark.slow),
    ],
    ids=["small", "efficientnet-b0"],
)
def test_runs_on_the_smallest_images(create):
    model = create(image_size=8, num_classes=3, dropout_rate=0.2, survival_probability=0.8)
    images = tf.random.stateless_uniform([2, 8, 8, 3], [0, 0])
    for training in (False, True):
        logits = model(images, training=training)
        assert logits.shape == (2, 3) and np.all(np.isfinite(logits))
