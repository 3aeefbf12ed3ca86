"""EfficientNet B0 to B8, L1 and L2 as the original release builds them.

Reference: Tan and Le, 2019, https://arxiv.org/abs/1905.11946.  L1 is Xie et al.'s, 2020,
https://arxiv.org/abs/2006.14536.

The requested activation reaches stem, blocks, squeeze-and-excitation and head; only the gate of
squeeze-and-excitation (`layers.SigmoidGate`) stays a sigmoid.  Layer names: stem_conv, stem_bn,
blocks_0_expand_conv, blocks_0_depthwise_conv, blocks_0_se_reduce, blocks_0_project_bn, linear.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf.activations import Activation
from sat_tf.models import layers, random_layers


class _Stage(NamedTuple):
    """One row of the paper's table 1, for width and depth 1."""

    repeats: int
    kernel_size: int
    stride: int
    expand_ratio: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS, _HEAD_FILTERS, _SE_RATIO = 32, 1280, 0.25


class _Style(NamedTuple):
    """What all parts of a network share.  `batch_norm` takes a name."""

    activation: Activation
    batch_norm: Callable
    seed: int


def round_filters(filters: int, width: float) -> int:
    """Scales to the nearest multiple of 8 that is at least 8 and at least 90 % of the product."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _initializer(name, style):
    """Normal, not truncated, variance 2 / (k^2 out); out is 1 for a depthwise kernel."""
    return tf.keras.initializers.VarianceScaling(
        2.0, "fan_out", "untruncated_normal", seed=random_layers.layer_seed(style.seed, name)
    )


def _conv(features, filters, *, name, style, kernel_size=1, stride=1, use_bias=False):
    return tf.keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="same",
        use_bias=use_bias,
        name=name,
        kernel_initializer=_initializer(name, style),
    )(features)


def _bn_activation(features, *, name, style):
    features = style.batch_norm(name=f"{name}_bn")(features)
    return style.activation(name=f"{name}_activation")(features)


def _squeeze_excite(features, hidden, *, name, style):
    """Scales channels by a gate computed from their means, https://arxiv.org/abs/1709.01507."""
    gate = tf.keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(features)
    gate = _conv(gate, hidden, use_bias=True, name=f"{name}_reduce", style=style)
    gate = style.activation(name=f"{name}_activation")(gate)
    gate = _conv(gate, features.shape[-1], use_bias=True, name=f"{name}_expand", style=style)
    return layers.SigmoidGate(name=f"{name}_gate")([features, gate])


def _block(inputs, stage, stride, *, name, style):
    """Expansion (unless its ratio is 1), depthwise, squeeze-and-excitation, linear projection."""
    features, channels = inputs, inputs.shape[-1]
    if stage.expand_ratio != 1:
        features = _conv(
            features, channels * stage.expand_ratio, name=f"{name}_expand_conv", style=style
        )
        features = _bn_activation(features, name=f"{name}_expand", style=style)
    depthwise = f"{name}_depthwise_conv"
    features = tf.keras.layers.DepthwiseConv2D(
        stage.kernel_size,
        strides=stride,
        padding="same",
        use_bias=False,
        name=depthwise,
        depthwise_initializer=_initializer(depthwise, style),
    )(features)
    features = _bn_activation(features, name=f"{name}_depthwise", style=style)
    features = _squeeze_excite(
        features, max(1, int(_SE_RATIO * channels)), name=f"{name}_se", style=style
    )
    features = _conv(features, stage.filters, name=f"{name}_project_conv", style=style)
    return style.batch_norm(name=f"{name}_project_bn")(features)


def _scaled_blocks(width, depth):
    """Returns one (stage, stride) a block, filters and repeats scaled."""
    blocks = []
    for stage in _STAGES:
        stage = stage._replace(filters=round_filters(stage.filters, width))
        repeats = math.ceil(depth * stage.repeats)
        blocks += [(stage, stage.stride if repeat == 0 else 1) for repeat in range(repeats)]
    return blocks


def efficientnet(
    *,
    width,
    depth,
    name,
    num_classes,
    image_size,
    activation,
    batch_norm,
    dropout_rate,
    survival_probability,
    seed,
):
    """Returns an EfficientNet.

    Args:
      width, depth: factors on the filters and repeats of B0.
      The others are as in `sat_tf.models.create`, the factories already made.
    Returns: float32 [B, image_size, image_size, 3] in [0, 1] -> float32 logits [B, num_classes].
    """
    style = _Style(activation, batch_norm, seed)
    images = tf.keras.Input((image_size, image_size, 3), dtype=tf.float32, name="images")
    features = layers.InputNormalization(name="input_normalization")(images)
    features = _conv(
        features,
        round_filters(_STEM_FILTERS, width),
        kernel_size=3,
        stride=2,
        name="stem_conv",
        style=style,
    )
    features = _bn_activation(features, name="stem", style=style)
    blocks = _scaled_blocks(width, depth)
    for index, (stage, stride) in enumerate(blocks):
        shortcut = features
        features = _block(features, stage, stride, name=f"blocks_{index}", style=style)
        if stride == 1 and shortcut.shape[-1] == stage.filters:
            features = random_layers.stochastic_depth(
                features,
                survival_probability=survival_probability,
                block=index,
                num_blocks=len(blocks),
                name=f"blocks_{index}_stochastic_depth",
                seed=seed,
            )
            features = tf.keras.layers.Add(name=f"blocks_{index}_add")([features, shortcut])
    features = _conv(features, round_filters(_HEAD_FILTERS, width), name="head_conv", style=style)
    features = _bn_activation(features, name="head", style=style)
    # A third of 1 / num_classes is the variance of the release's uniform +-1 / sqrt(num_classes).
    logits = layers.classifier(
        features,
        num_classes=num_classes,
        dropout_rate=dropout_rate,
        seed=seed,
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            1.0 / 3.0, "fan_out", "uniform", seed=random_layers.layer_seed(seed, "linear")
        ),
    )
    return layers.network(images, logits, name=name)
