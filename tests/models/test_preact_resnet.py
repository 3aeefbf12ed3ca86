"""PreActResNet and WideResNet: order, shortcuts, strides, parameters by hand, initial values."""

import networks
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import models
from sat_tf.models import random_layers

# Name -> stem, width and number of blocks of each group.
NETWORKS = {
    "preact-resnet18": (64, (64, 128, 256, 512), 2),
    "wide-resnet-34-10": (16, (160, 320, 640), 5),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def _abstract(name, **kwargs):
    return networks.abstract(name, **{"image_size": 32, "num_classes": 10, **kwargs})


def _small(activation="swish"):
    """Ten layers of 16, 32 and 64 channels: a block a group, the first with an identity."""
    return networks.small(networks.SMALL["preact"], image_size=8, activation=activation)


def _parameters(stem, widths, depth, num_classes):
    """Counts by hand; a batch norm counts the channels of what it normalises, twice."""
    total, channels = 27 * stem, stem
    for width in widths:
        for _ in range(depth):
            total += 2 * channels + 9 * channels * width  # batch norm, 3x3
            total += 2 * width + 9 * width * width
            total += channels * width if channels != width else 0  # 1x1, no batch norm
            channels = width
    return total + 2 * channels + (channels + 1) * num_classes


@pytest.mark.parametrize(
    "name, num_classes, expected",
    [
        ("preact-resnet18", 10, 11_172_170),
        ("preact-resnet18", 1000, 11_680_040),
        ("wide-resnet-34-10", 10, 46_160_474),
        ("wide-resnet-34-10", 1000, 46_795_064),
    ],
)
def test_parameters_counted_by_hand(name, num_classes, expected):
    assert _parameters(*NETWORKS[name], num_classes) == expected
    model = _abstract(name, num_classes=num_classes)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == expected


LAYERS = {
    "preact-resnet18": [
        "images",
        "input_normalization",
        "conv0",
        "group0_block0_preact1_bn",
        "group0_block0_preact1_activation",
        "group0_block0_conv1",
        "group0_block0_preact2_bn",
        "group0_block0_preact2_activation",
        "group0_block0_conv2",
        "group0_block0_add",
        "group0_block1_preact1_bn",
        "group0_block1_preact1_activation",
        "group0_block1_conv1",
        "group0_block1_preact2_bn",
        "group0_block1_preact2_activation",
        "group0_block1_conv2",
        "group0_block1_add",
        "group1_block0_preact1_bn",
        "group1_block0_preact1_activation",
        "group1_block0_conv1_pad",
        "group1_block0_conv1",
        "group1_block0_preact2_bn",
        "group1_block0_preact2_activation",
        "group1_block0_convshortcut",
        "group1_block0_conv2",
        "group1_block0_add",
    ],
    "wide-resnet-34-10": [
        "images",
        "input_normalization",
        "conv0",
        "group0_block0_preact1_bn",
        "group0_block0_preact1_activation",
        "group0_block0_conv1",
        "group0_block0_preact2_bn",
        "group0_block0_preact2_activation",
        "group0_block0_convshortcut",
        "group0_block0_conv2",
        "group0_block0_add",
        "group0_block1_preact1_bn",
    ],
}
LAST_LAYERS = ["head_bn", "head_activation", "pooled_features", "linear"]


@every_network
def test_names(name):
    """The order proper is that of `test_what_feeds_what`: branch and shortcut are parallel."""
    names = [layer.name for layer in _abstract(name).layers]
    beginning = LAYERS[name]
    assert set(names[: len(beginning)]) == set(beginning)
    assert names[-5:] == [
        f"group{len(NETWORKS[name][1]) - 1}_block{NETWORKS[name][2] - 1}_add",
        *LAST_LAYERS,
    ]


def _sources(layer):
    """Names of the layers whose outputs `layer` takes."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.layer.name for tensor in inputs]


@every_network
def test_what_feeds_what(name):
    stem, widths, depth = NETWORKS[name]
    model = _abstract(name)

    def source(part):
        return _sources(model.get_layer(f"{here}_{part}"))

    previous, channels = "conv0", stem
    for group, width in enumerate(widths):
        for block in range(depth):
            here = f"group{group}_block{block}"
            strided = group > 0 and block == 0
            assert source("preact1_bn") == [previous]
            assert source("preact1_activation") == [f"{here}_preact1_bn"]
            assert source("conv1_pad" if strided else "conv1") == [f"{here}_preact1_activation"]
            assert source("preact2_bn") == [f"{here}_conv1"]
            assert source("preact2_activation") == [f"{here}_preact2_bn"]
            assert source("conv2") == [f"{here}_preact2_activation"]
            if channels != width:
                assert source("convshortcut") == [f"{here}_preact1_activation"]
                assert source("add") == [f"{here}_convshortcut", f"{here}_conv2"]
            else:
                assert source("add") == [previous, f"{here}_conv2"]
            previous, channels = f"{here}_add", width
    for layer in LAST_LAYERS:
        assert _sources(model.get_layer(layer)) == [previous]
        previous = layer


@pytest.mark.parametrize(
    "name, shortcuts",
    [
        ("preact-resnet18", ["group1_block0", "group2_block0", "group3_block0"]),
        ("wide-resnet-34-10", ["group0_block0", "group1_block0", "group2_block0"]),
    ],
)
def test_projections_strides_and_sizes(name, shortcuts):
    stem, widths, depth = NETWORKS[name]
    model = _abstract(name)
    assert [layer.name for layer in model.layers if "shortcut" in layer.name] == [
        f"{block}_convshortcut" for block in shortcuts
    ]
    assert model.get_layer("conv0").filters == stem
    assert model.get_layer("conv0").strides == (1, 1)
    for group, width in enumerate(widths):
        for block in range(depth):
            here = f"group{group}_block{block}"
            stride = (2, 2) if block == 0 and group > 0 else (1, 1)
            first, second = (model.get_layer(f"{here}_conv{i}") for i in (1, 2))
            assert (first.kernel_size, first.strides, first.filters) == ((3, 3), stride, width)
            assert (second.kernel_size, second.strides, second.filters) == ((3, 3), (1, 1), width)
            assert not first.use_bias and not second.use_bias
            if here in shortcuts:
                shortcut = model.get_layer(f"{here}_convshortcut")
                assert (shortcut.kernel_size, shortcut.strides) == ((1, 1), stride)
            side = 32 // 2**group
            assert model.get_layer(f"{here}_add").output.shape == (None, side, side, width)


def test_the_blocks_compute_what_the_papers_draw():
    """Against the raw operations, with random batch-norm constants, in inference mode."""
    model = _small(activation="relu")
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.shape.rank == 1:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    images = tf.constant(random.random((2, 8, 8, 3)), tf.float32)

    def conv(x, name, stride=1):
        kernel = model.get_layer(name).kernel
        sides = [kernel.shape[0] // 2] * 2
        return tf.nn.conv2d(x, kernel, stride, [[0, 0], sides, sides, [0, 0]])

    def preact(x, name):
        bn = model.get_layer(f"{name}_bn")
        normal = (x - bn.moving_mean) / tf.sqrt(bn.moving_variance + 1e-5)
        return tf.maximum(normal * bn.gamma + bn.beta, 0.0)

    x = conv(2.0 * images - 1.0, "conv0")
    for group, stride in enumerate((1, 2, 2)):
        here = f"group{group}_block0"
        inner = preact(x, f"{here}_preact1")
        branch = conv(inner, f"{here}_conv1", stride)
        branch = conv(preact(branch, f"{here}_preact2"), f"{here}_conv2")
        x = branch + (x if group == 0 else conv(inner, f"{here}_convshortcut", stride))
    pooled = tf.reduce_mean(preact(x, "head"), [1, 2])
    linear = model.get_layer("linear")
    np.testing.assert_allclose(
        model(images), pooled @ linear.kernel + linear.bias, rtol=1e-4, atol=1e-5
    )


def test_every_weight_has_a_gradient():
    model = _small(activation="smoothrelu")
    images = tf.random.stateless_uniform([4, 8, 8, 3], [0, 0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.nn.log_softmax(model(images, training=True))[:, 0])
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights)
    ):
        assert gradient is not None and np.all(np.isfinite(gradient)), weight.name
        assert np.any(gradient != 0), weight.name


def test_saved_networks_answer_the_same(tmp_path):
    model = _small(activation="smoothrelu")
    images = tf.random.stateless_uniform([2, 8, 8, 3], [0, 0])
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        tf.keras.models.load_model(tmp_path / "model.keras")(images), model(images)
    )


def test_depth_drops_identity_blocks_and_dropout_the_pooled_features():
    model = _abstract("wide-resnet-34-10", survival_probability=0.4, dropout_rate=0.3)
    shares = {
        layer.name: layer.survival
        for layer in model.layers
        if isinstance(layer, random_layers.StochasticDepth)
    }
    assert list(shares) == [
        f"group{index // 5}_block{index % 5}_stochastic_depth" for index in range(15) if index % 5
    ]
    assert shares["group2_block4_stochastic_depth"] == pytest.approx(1 - 0.6 * 14 / 15)
    assert shares["group0_block1_stochastic_depth"] == pytest.approx(1 - 0.6 * 1 / 15)
    assert _sources(model.get_layer("group1_block2_add")) == [
        "group1_block1_add",
        "group1_block2_stochastic_depth",
    ]
    assert model.get_layer("dropout").rate == 0.3
    assert _sources(model.get_layer("dropout")) == ["pooled_features"]


def test_initial_values():
    model = models.create("preact-resnet18", image_size=32)
    for name in ("group1_block1_conv1", "group1_block0_convshortcut"):
        kernel = model.get_layer(name).kernel.numpy()
        deviation = np.sqrt(2 / (np.prod(kernel.shape[:2]) * kernel.shape[3]))
        assert np.std(kernel) == pytest.approx(deviation, rel=0.02)
    linear = model.get_layer("linear")
    assert np.std(linear.kernel) == pytest.approx(0.01, rel=0.02) and not np.any(linear.bias)
    for layer in model.layers:
        if layer.name.endswith("_bn"):
            np.testing.assert_array_equal(layer.gamma, 1.0)
