"""Residual networks whose blocks normalise and activate before they convolve, for small images.

    model = preact_resnet.wide_resnet(
        depth=34, width=10, name="wide-resnet-34-10", num_classes=10, image_size=32,
        activation=activations.create("swish"),
        batch_norm=functools.partial(layers.batch_norm, 0.9, 1e-5), dropout_rate=0.0,
        survival_probability=1.0, seed=0)

References: He et al., 2016 (pre-activation), https://arxiv.org/abs/1603.05027; Zagoruyko and
Komodakis, 2016 (WideResNet), https://arxiv.org/abs/1605.07146, as adversarial training has them
since TRADES, https://arxiv.org/abs/1901.08573.

The stem is a bare 3x3 convolution of stride 1 at every image size, and only the sums of the blocks
run from there to the last batch norm and activation.  Layer names: conv0,
group0_block0_preact1_bn, group0_block0_preact1_activation, group0_block0_conv1,
group0_block0_convshortcut, head_bn, linear.

Initial values are those of `resnet.py` (He et al.'s for the kernels, which both papers use), but
for its zero gammas: a branch here ends with a convolution, so there is none that could close it.
"""

import functools

import tensorflow as tf

from sat_tf.models import layers, resnet


def _conv(features, filters, kernel_size, *, name, style, stride=1):
    return layers.explicit_conv(
        features, filters, kernel_size, stride=stride, name=name, seed=style.seed
    )


def _bn_activation(features, *, name, style):
    features = style.batch_norm(name=f"{name}_bn")(features)
    return style.activation(name=f"{name}_activation")(features)


def _block(features, channels, stride, *, name, index, style):
    """Twice batch norm, activation and 3x3, the first of which has the stride.

    Where stride or channels change, the shortcut is a projection of the pre-activated input.
    """
    preactivated = _bn_activation(features, name=f"{name}_preact1", style=style)
    branch = _conv(preactivated, channels, 3, stride=stride, name=f"{name}_conv1", style=style)
    branch = _bn_activation(branch, name=f"{name}_preact2", style=style)
    branch = _conv(branch, channels, 3, name=f"{name}_conv2", style=style)
    if stride > 1 or features.shape[-1] != channels:
        features = _conv(
            preactivated, channels, 1, stride=stride, name=f"{name}_convshortcut", style=style
        )
    else:
        branch = resnet.drop_branch(branch, name=name, index=index, style=style)
    return tf.keras.layers.Add(name=f"{name}_add")([features, branch])


def _preact_resnet(stem_filters, channels, blocks, **kwargs):
    return resnet.residual_network(
        functools.partial(_conv, filters=stem_filters, kernel_size=3, name="conv0"),
        _block,
        channels,
        blocks,
        head=functools.partial(_bn_activation, name="head"),
        **kwargs,
    )


def preact_resnet18(**kwargs):
    """Returns a PreActResNet-18: a stem of 64, two blocks each of 64, 128, 256, 512 channels.

    Args: as in `sat_tf.models.create`, the factories already made.
    Returns: float32 [B, image_size, image_size, 3] in [0, 1] -> float32 logits [B, num_classes].
    """
    return _preact_resnet(64, (64, 128, 256, 512), (2, 2, 2, 2), **kwargs)


def wide_resnet(*, depth, width, **kwargs):
    """Returns a WideResNet of `depth` layers, `width` times as wide as the original networks.

    Args:
      depth: 6 n + 4 for n blocks in each of three groups.
      width: factor on the 16, 32 and 64 channels of the groups; the stem keeps 16.
      **kwargs: as in `sat_tf.models.create`.  `dropout_rate` is of the pooled features, as in all
        networks here; the paper's lies between the convolutions of a block, and TRADES has none.
    Returns: float32 [B, image_size, image_size, 3] in [0, 1] -> float32 logits [B, num_classes].
    """
    return _preact_resnet(
        16, (16 * width, 32 * width, 64 * width), 3 * ((depth - 4) // 6,), **kwargs
    )
