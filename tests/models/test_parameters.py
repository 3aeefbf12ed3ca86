"""Every network's parameters and activations, in the built graph and counted by hand."""

import math

import networks
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import activations, models
from sat_tf.models import efficientnet, layers, random_layers, resnet

# Trainable parameters with 1000 classes and 224 pixels, and activations (smoothrelu adds a weight
# for each).  The small networks are summed up layer by layer in test_resnet.py and
# test_preact_resnet.py.
EXPECTED = {
    "resnet20": (336_824, 19),
    "resnet32": (531_256, 31),
    "resnet18": (11_689_512, 17),
    "resnet34": (21_797_672, 33),
    "preact-resnet18": (11_680_040, 17),
    "wide-resnet-34-10": (46_795_064, 31),
    "resnet50": (25_557_032, 49),
    "resnet101": (44_549_160, 100),
    "resnet152": (60_192_808, 151),
    "resnext50-32x4d": (25_028_904, 49),
    "resnext50-32x8d": (48_021_800, 49),
    "resnext152-32x8d": (122_372_392, 151),
    "efficientnet-b0": (5_288_548, 2 + 15 + 2 * 16),
    "efficientnet-b1": (7_794_184, 2 + 21 + 2 * 23),
    "efficientnet-b2": (9_109_994, 2 + 21 + 2 * 23),
    "efficientnet-b3": (12_233_232, 2 + 24 + 2 * 26),
    "efficientnet-b4": (19_341_616, 2 + 30 + 2 * 32),
    "efficientnet-b5": (30_389_784, 2 + 36 + 2 * 39),
    "efficientnet-b6": (43_040_704, 2 + 42 + 2 * 45),
    "efficientnet-b7": (66_347_960, 2 + 51 + 2 * 55),
    "efficientnet-b8": (87_413_142, 2 + 57 + 2 * 61),
    "efficientnet-l1": (272_630_564, 2 + 59 + 2 * 63),
    "efficientnet-l2": (480_309_308, 2 + 82 + 2 * 88),
}
# The others would only repeat these at a price of some seconds each; every day they are counted by
# hand, here or where SUMMED says.
BUILT = {"resnet20", "resnet18", "preact-resnet18", "resnet50", "efficientnet-b0"}
SUMMED = {
    "resnet32": "test_resnet.py",
    "resnet34": "test_resnet.py",
    "wide-resnet-34-10": "test_preact_resnet.py",
}
every_model = pytest.mark.parametrize(
    "name",
    [
        name if name in BUILT else pytest.param(name, marks=pytest.mark.slow)
        for name in models.MODELS
    ],
)


def _trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def _check_activations(model, requested, count):
    """Every non-linearity is the requested activation or a documented gate."""
    found = [layer for layer in model.layers if hasattr(layer, "activation_name")]
    assert {layer.activation_name for layer in found} == {requested}
    assert len(found) == len({id(layer) for layer in found}) == count
    allowed = (
        tf.keras.layers.InputLayer,
        tf.keras.layers.ZeroPadding2D,
        tf.keras.layers.Add,
        tf.keras.layers.MaxPooling2D,
        tf.keras.layers.GlobalAveragePooling2D,
        layers.InputNormalization,
        layers.BatchNormalization,
        layers.SigmoidGate,
        random_layers.Dropout,
        random_layers.StochasticDepth,
    )
    for layer in model.layers:
        if hasattr(layer, "activation"):  # convolutions and dense layers
            assert layer.activation is tf.keras.activations.linear, layer.name
        else:
            assert layer in found or isinstance(layer, allowed), layer.name


def _conv(channels, filters, size=3, groups=1):
    return size * size * channels // groups * filters + 2 * filters  # with gamma and beta


def _bottleneck_parameters(blocks, group=1, bottleneck_width=64):
    """Counts by hand: 1x1, 3x3 in groups, 1x1 a block, a projection in a group's first."""
    total, channels = _conv(3, 64, 7), 64
    for width, depth in zip((64, 128, 256, 512), blocks):
        inner = width * group * bottleneck_width // 64
        for block in range(depth):
            total += _conv(channels, inner, 1) + _conv(inner, inner, 3, group)
            total += _conv(inner, 4 * width, 1)
            total += _conv(channels, 4 * width, 1) if block == 0 else 0
            channels = 4 * width
    return total + (channels + 1) * 1000


# The paper's table 1: repeats, kernel size, expansion, filters.
STAGES = (
    (1, 3, 1, 16),
    (2, 3, 6, 24),
    (2, 5, 6, 40),
    (3, 3, 6, 80),
    (3, 5, 6, 112),
    (4, 5, 6, 192),
    (1, 3, 6, 320),
)


def _efficientnet_parameters(width, depth):
    """Counts by hand; a squeeze is a quarter of the block's input, and has biases."""
    channels = efficientnet.round_filters(32, width)
    total = _conv(3, channels)
    for repeats, kernel_size, expansion, filters in STAGES:
        filters = efficientnet.round_filters(filters, width)
        for _ in range(math.ceil(repeats * depth)):
            inner, hidden = channels * expansion, channels // 4
            total += _conv(channels, inner, 1) if expansion > 1 else 0
            total += kernel_size**2 * inner + 2 * inner
            total += (inner + 1) * hidden + (hidden + 1) * inner
            total += _conv(inner, filters, 1)
            channels = filters
    head = efficientnet.round_filters(1280, width)
    return total + _conv(channels, head, 1) + (head + 1) * 1000


COUNTED = {
    name: _bottleneck_parameters if "blocks" in row.builder.keywords else _efficientnet_parameters
    for name, row in models.MODELS.items()
    if row.builder.func in (resnet.bottleneck_resnet, efficientnet.efficientnet)
}


@pytest.mark.parametrize("name", COUNTED)
def test_the_rows_settings_give_the_parameters(name):
    """Without building it."""
    parameters, _ = EXPECTED[name]
    assert COUNTED[name](**models.MODELS[name].builder.keywords) == parameters


def test_every_model_is_expected_and_built_or_counted():
    assert set(EXPECTED) == set(models.MODELS) == {*BUILT, *COUNTED, *SUMMED}


@every_model
def test_parameters_and_activations(name):
    parameters, sites = EXPECTED[name]
    model = networks.abstract(name)
    assert model.name == name and model.output_shape == (None, 1000)
    assert _trainable_parameters(model) == parameters
    _check_activations(model, "swish", sites)


@pytest.mark.parametrize(
    "kind, sites, blocks, activation",
    [
        *(("resnet", 7, 0, activation) for activation in activations.ACTIVATIONS),
        # One of each class of layers every day.
        *(
            pytest.param(
                *("efficientnet", 2 + 7 + 2 * 8, 8, activation),
                marks=[] if activation in ("mish", "smoothrelu", "sparta") else pytest.mark.slow,
            )
            for activation in activations.ACTIVATIONS
        ),
    ],
)
def test_only_the_requested_activation_and_the_gates(kind, sites, blocks, activation):
    model = networks.abstract_small(
        networks.SMALL[kind], activation=activation, dropout_rate=0.2, survival_probability=0.8
    )
    _check_activations(model, activation, sites)
    learned = [
        weight
        for weight in model.trainable_weights
        if weight.name.endswith(("raw_alpha:0", "attention_taps:0", "attention_bias:0"))
    ]
    assert len(learned) == sites * {"smoothrelu": 1, "sparta": 2}.get(activation, 0)
    gates = [layer.name for layer in model.layers if isinstance(layer, layers.SigmoidGate)]
    assert gates == [f"blocks_{block}_se_gate" for block in range(blocks)]


@pytest.mark.slow
def test_largest_of_the_paper_builds_in_seconds():
    model = models.create("efficientnet-l1", image_size=64)
    assert _trainable_parameters(model) == 272_630_564
    assert model(tf.zeros([1, 64, 64, 3])).shape == (1, 1000)
