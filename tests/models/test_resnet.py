"""The ResNets: shapes at every size, names, padding, initial values, hand-counted parameters."""

import functools

import networks
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import models

_WIDTHS = (64, 128, 256, 512)


def _conv(channels, filters, size=3):
    return size * size * channels * filters + 2 * filters  # with gamma and beta


def _basic_parameters(stem, widths, depths, num_classes):
    """Counts by hand: stem, two 3x3 a block, a projection where the channels change, classifier."""
    total, channels = stem, widths[0]
    for width, depth in zip(widths, depths):
        for _ in range(depth):
            total += _conv(channels, width) + _conv(width, width)
            total += _conv(channels, width, 1) if channels != width else 0
            channels = width
    return total + (channels + 1) * num_classes


@pytest.mark.parametrize(
    "name, size, num_classes, expected",
    [
        ("resnet20", 32, 10, _basic_parameters(_conv(3, 16), (16, 32, 64), (3, 3, 3), 10)),
        ("resnet20", 8, 1000, _basic_parameters(_conv(3, 16), (16, 32, 64), (3, 3, 3), 1000)),
        ("resnet18", 32, 10, _basic_parameters(_conv(3, 64), _WIDTHS, (2, 2, 2, 2), 10)),
        ("resnet18", 64, 1000, _basic_parameters(_conv(3, 64, 7), _WIDTHS, (2, 2, 2, 2), 1000)),
        ("resnet32", 32, 10, _basic_parameters(_conv(3, 16), (16, 32, 64), (5, 5, 5), 10)),
        pytest.param(
            *("resnet34", 32, 10, _basic_parameters(_conv(3, 64), _WIDTHS, (3, 4, 6, 3), 10)),
            marks=pytest.mark.slow,
        ),
        ("resnet34", 64, 1000, _basic_parameters(_conv(3, 64, 7), _WIDTHS, (3, 4, 6, 3), 1000)),
    ],
)
def test_parameters_counted_by_hand(name, size, num_classes, expected):
    model = networks.abstract(name, image_size=size, num_classes=num_classes)
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == expected


def test_hand_counts_are_the_known_ones():
    assert _basic_parameters(_conv(3, 16), (16, 32, 64), (3, 3, 3), 10) == 272_474
    assert _basic_parameters(_conv(3, 64), _WIDTHS, (2, 2, 2, 2), 10) == 11_173_962
    assert _basic_parameters(_conv(3, 64, 7), _WIDTHS, (2, 2, 2, 2), 1000) == 11_689_512
    # torchvision's count
    assert _basic_parameters(_conv(3, 64, 7), _WIDTHS, (3, 4, 6, 3), 1000) == 21_797_672


def test_resnet18_changes_its_stem_at_64_pixels():
    small, large = (networks.abstract("resnet18", image_size=size) for size in (63, 64))
    assert small.get_layer("conv0").kernel_size == (3, 3) and small.get_layer("conv0").strides == (
        1,
        1,
    )
    assert large.get_layer("conv0").kernel_size == (7, 7) and large.get_layer("pool0")
    assert "pool0" not in [layer.name for layer in small.layers]


@pytest.mark.parametrize(
    "size, stages, depths",
    [
        (224, (56, 28, 14, 7), (3, 4, 6, 3)),
        (65, (17, 9, 5, 3), (1, 2, 1, 1)),
        (64, (16, 8, 4, 2), (1, 2, 1, 1)),
        (8, (2, 1, 1, 1), (1, 2, 1, 1)),
    ],
)
def test_sizes_of_the_groups(size, stages, depths):
    if depths == (3, 4, 6, 3):
        model = networks.abstract("resnet50")
    else:
        model = networks.abstract_small(networks.SMALL["bottleneck"], image_size=size)
    for group, (side, blocks) in enumerate(zip(stages, depths)):
        for block in range(blocks):
            output = model.get_layer(f"group{group}_block{block}_activation").output
            assert output.shape == (None, side, side, 256 * 2**group)


# The small networks at one of the sizes every day.
DAILY = {("resnet", 9), ("basic", 8), ("bottleneck", 9), ("resnext", 9), ("preact", 8)}
ROWS = (
    *("resnet20", "resnet18", "resnet50", "resnext50-32x4d"),
    *("preact-resnet18", "wide-resnet-34-10"),
)


@pytest.mark.parametrize(
    "name, size",
    [
        pytest.param(name, size, marks=[] if (name, size) in DAILY else pytest.mark.slow)
        for name in (*sorted(name for name, _ in DAILY), *ROWS)
        for size in (8, 9)
    ],
)
def test_runs_on_the_smallest_images(name, size):
    if name in networks.SMALL:
        model = networks.small(networks.SMALL[name], image_size=size, num_classes=3)
    else:
        model = models.create(name, image_size=size, num_classes=3)
    images = tf.random.stateless_uniform([2, size, size, 3], [0, 0])
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = model(images, training=True)
    assert logits.shape == (2, 3) and np.all(np.isfinite(logits))
    assert np.any(tape.gradient(logits, images) != 0)


def test_names_follow_the_releases_scopes():
    names = [layer.name for layer in networks.abstract("resnet50").layers]
    assert names[:7] == [
        "images",
        "input_normalization",
        "conv0_pad",
        "conv0",
        "conv0_bn",
        "conv0_activation",
        "pool0",
    ]
    for expected in (
        "group0_block0_conv1",
        "group0_block0_conv1_bn",
        "group0_block0_conv1_activation",
        "group0_block0_conv3_bn",
        "group0_block0_convshortcut",
        "group0_block0_convshortcut_bn",
        "group0_block0_activation",
        "group3_block2_conv3",
        "pooled_features",
        "linear",
    ):
        assert expected in names
    shortcuts = [name for name in names if name.endswith("convshortcut")]
    assert shortcuts == [f"group{group}_block0_convshortcut" for group in range(4)]
    assert not [name for name in names if "conv3_activation" in name or "convshortcut_act" in name]


@pytest.mark.parametrize(
    "name, widths",
    [
        ("resnet50", (64, 128, 256, 512)),
        ("resnext50-32x4d", (128, 256, 512, 1024)),
        pytest.param("resnext50-32x8d", (256, 512, 1024, 2048), marks=pytest.mark.slow),
    ],
)
def test_inner_widths_and_strides(name, widths):
    model = networks.abstract(name)
    groups = 32 if "resnext" in name else 1
    for group, width in enumerate(widths):
        stride = (1, 1) if group == 0 else (2, 2)
        first, middle = (model.get_layer(f"group{group}_block0_conv{i}") for i in (1, 2))
        assert first.filters == middle.filters == width
        assert first.strides == (1, 1) and middle.strides == stride and middle.groups == groups
        assert middle.kernel.shape == (3, 3, width // groups, width)
        assert model.get_layer(f"group{group}_block0_convshortcut").strides == stride
        assert model.get_layer(f"group{group}_block1_conv2").strides == (1, 1)


def test_strided_convolutions_pad_both_sides_and_the_pool_the_far_side_only():
    """Seen from the outside: which input positions reach the first output position."""
    model = networks.abstract_small(networks.SMALL["bottleneck"], image_size=64)
    assert model.get_layer("conv0_pad").padding == ((3, 3), (3, 3))
    assert model.get_layer("conv0").padding == "valid"
    assert model.get_layer("group1_block0_conv2_pad").padding == ((1, 1), (1, 1))
    assert model.get_layer("group1_block1_conv2").padding == "same"
    pool = model.get_layer("pool0")
    row = tf.reshape(tf.range(8.0), [1, 1, 8, 1])
    np.testing.assert_array_equal(tf.squeeze(pool(row)), [2, 4, 6, 7])


@pytest.mark.parametrize("name", ["basic", "bottleneck"])
def test_initial_values(name):
    builder = functools.partial(networks.SMALL[name], blocks=(2, 2, 1, 1))
    model = networks.small(builder, image_size=64, num_classes=1000)
    last = "conv3" if name == "bottleneck" else "conv2"
    kernel = model.get_layer("group1_block1_conv1").kernel.numpy()
    deviation = np.sqrt(2 / (np.prod(kernel.shape[:2]) * kernel.shape[3]))
    assert np.std(kernel) == pytest.approx(deviation, rel=0.02)
    assert np.max(np.abs(kernel)) < 2.3 * deviation  # truncated
    linear = model.get_layer("linear")
    assert np.std(linear.kernel) == pytest.approx(0.01, rel=0.02) and not np.any(linear.bias)
    for layer in model.layers:
        if layer.name.endswith("_bn"):
            zero = layer.name.endswith(f"{last}_bn")
            np.testing.assert_array_equal(layer.gamma, 0.0 if zero else 1.0)
    # With the last gammas at zero, an identity block changes nothing but by its activation.
    inner = tf.keras.Model(
        model.inputs,
        [
            model.get_layer("group0_block0_activation").output,
            model.get_layer("group0_block1_activation").output,
        ],
    )
    before, after = inner(tf.random.stateless_uniform([1, 64, 64, 3], [0, 0]))
    np.testing.assert_allclose(after, tf.nn.silu(before), atol=1e-6)
