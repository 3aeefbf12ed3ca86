"""ResNet and ResNeXt as the original release builds them, and the ResNets of basic blocks.

    model = resnet.bottleneck_resnet(
        blocks=(3, 4, 6, 3), group=32, bottleneck_width=4, name="resnext50-32x4d",
        num_classes=1000, image_size=224, activation=activations.create("swish"),
        batch_norm=functools.partial(layers.batch_norm, 0.9, 1e-5), dropout_rate=0.0,
        survival_probability=1.0, seed=0)

References: He et al., 2016, https://arxiv.org/abs/1512.03385; Xie et al., 2017 (ResNeXt),
https://arxiv.org/abs/1611.05431; Goyal et al., 2017 (stride on the 3x3, last gamma zero),
https://arxiv.org/abs/1706.02677.

Layer names follow the release's variable scopes, with "_" for "/": group0_block0_conv1,
group0_block0_conv1_bn, group0_block0_convshortcut, linear.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf.activations import Activation
from sat_tf.models import layers, random_layers


class _Style(NamedTuple):
    """What all parts of a network share.  `batch_norm` takes name and gamma_initializer."""

    activation: Activation
    batch_norm: Callable
    survival_probability: float
    num_blocks: int
    seed: int


def _conv_bn(
    features, filters, kernel_size, *, name, style, stride=1, groups=1, gamma_initializer="ones"
):
    features = layers.explicit_conv(
        features, filters, kernel_size, stride=stride, groups=groups, name=name, seed=style.seed
    )
    return style.batch_norm(name=f"{name}_bn", gamma_initializer=gamma_initializer)(features)


def _conv_bn_activation(features, filters, kernel_size, *, name, style, **kwargs):
    features = _conv_bn(features, filters, kernel_size, name=name, style=style, **kwargs)
    return style.activation(name=f"{name}_activation")(features)


def drop_branch(branch, *, name, index, style):
    """Applies stochastic depth to the branch of block `index`, whose shortcut is the identity."""
    return random_layers.stochastic_depth(
        branch,
        survival_probability=style.survival_probability,
        block=index,
        num_blocks=style.num_blocks,
        name=f"{name}_stochastic_depth",
        seed=style.seed,
    )


def _add_shortcut(features, branch, stride, *, name, index, style):
    """Adds the block's input to its branch, projected only where the channels change."""
    filters = branch.shape[-1]
    if features.shape[-1] != filters:
        features = _conv_bn(
            features, filters, 1, stride=stride, name=f"{name}_convshortcut", style=style
        )
    else:
        branch = drop_branch(branch, name=name, index=index, style=style)
    features = tf.keras.layers.Add(name=f"{name}_add")([features, branch])
    return style.activation(name=f"{name}_activation")(features)


def _bottleneck_block(features, channels, stride, *, group, bottleneck_width, name, index, style):
    """1x1, 3x3 (which has the stride and the groups), 1x1 to four times `channels`."""
    width = channels * (bottleneck_width * group // 64)
    conv = functools.partial(_conv_bn_activation, style=style)
    branch = conv(features, width, 1, name=f"{name}_conv1")
    branch = conv(branch, width, 3, stride=stride, groups=group, name=f"{name}_conv2")
    # With its last gamma at zero, a block starts as its shortcut.
    branch = _conv_bn(
        branch, 4 * channels, 1, name=f"{name}_conv3", style=style, gamma_initializer="zeros"
    )
    return _add_shortcut(features, branch, stride, name=name, index=index, style=style)


def _basic_block(features, channels, stride, *, name, index, style):
    """3x3 (which has the stride), 3x3."""
    branch = _conv_bn_activation(
        features, channels, 3, stride=stride, name=f"{name}_conv1", style=style
    )
    branch = _conv_bn(
        branch, channels, 3, name=f"{name}_conv2", style=style, gamma_initializer="zeros"
    )
    return _add_shortcut(features, branch, stride, name=name, index=index, style=style)


def _imagenet_stem(features, *, style):
    features = _conv_bn_activation(features, 64, 7, stride=2, name="conv0", style=style)
    # SAME: on even sizes this pads the right and bottom only, as in the release.
    return tf.keras.layers.MaxPooling2D(3, 2, padding="same", name="pool0")(features)


def _small_stem(filters):
    return functools.partial(_conv_bn_activation, filters=filters, kernel_size=3, name="conv0")


def _unchanged(features, *, style):
    del style  # the blocks of these networks end with their activation
    return features


def residual_network(
    stem,
    block,
    channels,
    blocks,
    *,
    name,
    num_classes,
    image_size,
    activation,
    batch_norm,
    dropout_rate,
    survival_probability,
    seed,
    head=_unchanged,
):
    """Returns a classifier of `stem`, groups of `block`, `head`, pooling and a linear layer.

    Args:
      stem, head: (features, style=) -> features.
      block: (features, width, stride, name=, index=, style=) -> features.  The first block of
        every group but the first has stride 2; `index` counts through the network from 0.
      channels, blocks: the width and the number of blocks of each group.
      The others are as in `sat_tf.models.create`, the factories already made.
    Returns: float32 [B, image_size, image_size, 3] in [0, 1] -> float32 logits [B, num_classes].
    """
    style = _Style(activation, batch_norm, survival_probability, sum(blocks), seed)
    images = tf.keras.Input((image_size, image_size, 3), dtype=tf.float32, name="images")
    features = layers.InputNormalization(name="input_normalization")(images)
    features = stem(features, style=style)
    index = 0
    for group, (width, depth) in enumerate(zip(channels, blocks)):
        for position in range(depth):
            features = block(
                features,
                width,
                2 if position == 0 and group > 0 else 1,
                name=f"group{group}_block{position}",
                index=index,
                style=style,
            )
            index += 1
    logits = layers.classifier(
        head(features, style=style),
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        seed=seed,
        kernel_initializer=tf.keras.initializers.RandomNormal(
            stddev=0.01, seed=random_layers.layer_seed(seed, "linear")
        ),
    )
    return layers.network(images, logits, name=name)


def bottleneck_resnet(*, blocks, group=1, bottleneck_width=64, **kwargs):
    """Returns a ResNet-50, -101, -152 (`blocks` a group) or, with `group` above 1, a ResNeXt.

    Args:
      blocks: four depths, one a group of 64, 128, 256 and 512 channels (times 4 at the output).
      group: groups of the 3x3 convolutions.   bottleneck_width: channels a group has at 64.
      **kwargs: name, num_classes, image_size, activation, batch_norm, dropout_rate,
        survival_probability, seed; as in `sat_tf.models.create`, the factories already made.
    Returns: float32 [B, image_size, image_size, 3] in [0, 1] -> float32 logits.
    """
    block = functools.partial(_bottleneck_block, group=group, bottleneck_width=bottleneck_width)
    return residual_network(_imagenet_stem, block, (64, 128, 256, 512), blocks, **kwargs)


def basic_resnet(*, blocks, image_size, **kwargs):
    """Returns a ResNet-18 or -34 (`blocks` a group).

    Below 64 pixels the stem is one 3x3 of stride 1 and no pooling.
    """
    stem = _imagenet_stem if image_size >= 64 else _small_stem(64)
    return residual_network(
        stem, _basic_block, (64, 128, 256, 512), blocks, image_size=image_size, **kwargs
    )


def cifar_resnet(*, depth, **kwargs):
    """Returns He et al.'s CIFAR network of `depth` layers, 6 n + 2 (section 4.2).

    Where the channels change, the shortcut is a projection as everywhere here; the paper's
    pads with zero channels.
    """
    return residual_network(
        _small_stem(16), _basic_block, (16, 32, 64), 3 * ((depth - 2) // 6,), **kwargs
    )
