"""The networks, one row of `MODELS` each.

    from sat_tf import models
    model = models.create("efficientnet-b0", activation="swish", num_classes=1000, image_size=224)
    logits = model(images, training=False)

Images are float32 [batch, image_size, image_size, 3] in [0, 1]; the first layer maps them to
[-1, 1].  Logits are float32 [batch, num_classes] under every precision policy.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf import activations
from sat_tf.config import ModelConfig
from sat_tf.errors import add, look_up
from sat_tf.models import efficientnet, layers, preact_resnet, resnet

__all__ = [
    "MODELS",
    "Row",
    "activation_layers",
    "build",
    "canonical_name",
    "create",
    "layers",
    "register",
    "resnet",
]


class Row(NamedTuple):
    """A builder and the settings it has unless told otherwise.

    `family`, "resnet" or "efficientnet", says whose defaults of training a command takes.
    `image_size` is the side in pixels at which the paper trains the network, or what it is made
    for where the paper has none; it serves data sets whose images vary in size.  The batch-norm
    settings of the EfficientNets are those that the paper's checkpoints need; the architecture's
    own were 0.99 and 1e-3.
    """

    builder: Callable[..., tf.keras.Model]
    family: str
    image_size: int
    dropout_rate: float = 0.0
    survival_probability: float = 1.0
    batch_norm_momentum: float = 0.9
    batch_norm_epsilon: float = 1e-5


def _resnet(builder, image_size=224, **settings):
    return Row(functools.partial(builder, **settings), "resnet", image_size)


def _efficientnet(width, depth, image_size, dropout_rate):
    builder = functools.partial(efficientnet.efficientnet, width=width, depth=depth)
    return Row(builder, "efficientnet", image_size, dropout_rate, survival_probability=0.8)


_bottleneck = resnet.bottleneck_resnet

MODELS = {
    "resnet20": _resnet(resnet.cifar_resnet, 32, depth=20),
    "resnet32": _resnet(resnet.cifar_resnet, 32, depth=32),
    "resnet18": _resnet(resnet.basic_resnet, blocks=(2, 2, 2, 2)),
    "resnet34": _resnet(resnet.basic_resnet, blocks=(3, 4, 6, 3)),
    "preact-resnet18": _resnet(preact_resnet.preact_resnet18, 32),
    "wide-resnet-34-10": _resnet(preact_resnet.wide_resnet, 32, depth=34, width=10),
    "resnet50": _resnet(_bottleneck, blocks=(3, 4, 6, 3)),
    "resnet101": _resnet(_bottleneck, blocks=(3, 4, 23, 3)),
    "resnet152": _resnet(_bottleneck, blocks=(3, 8, 36, 3)),
    "resnext50-32x4d": _resnet(_bottleneck, blocks=(3, 4, 6, 3), group=32, bottleneck_width=4),
    "resnext50-32x8d": _resnet(_bottleneck, blocks=(3, 4, 6, 3), group=32, bottleneck_width=8),
    "resnext152-32x8d": _resnet(
        _bottleneck, 380, blocks=(3, 8, 36, 3), group=32, bottleneck_width=8
    ),
    "efficientnet-b0": _efficientnet(1.0, 1.0, 224, 0.2),
    "efficientnet-b1": _efficientnet(1.0, 1.1, 240, 0.2),
    "efficientnet-b2": _efficientnet(1.1, 1.2, 260, 0.3),
    "efficientnet-b3": _efficientnet(1.2, 1.4, 300, 0.3),
    "efficientnet-b4": _efficientnet(1.4, 1.8, 380, 0.4),
    "efficientnet-b5": _efficientnet(1.6, 2.2, 456, 0.4),
    "efficientnet-b6": _efficientnet(1.8, 2.6, 528, 0.5),
    "efficientnet-b7": _efficientnet(2.0, 3.1, 600, 0.5),
    "efficientnet-b8": _efficientnet(2.2, 3.6, 672, 0.5),
    "efficientnet-l1": _efficientnet(3.9, 3.7, 600, 0.5),
    "efficientnet-l2": _efficientnet(4.3, 5.3, 800, 0.5),
}


def canonical_name(name: str) -> str:
    """Returns the row of `MODELS` that `name` means; the release says efficientnet-bL1 for L1.

    Raises: ValueError for an unknown name, listing the known ones.
    """
    canonical = name.lower().replace("efficientnet-bl", "efficientnet-l")
    look_up(MODELS, "model", canonical)
    return canonical


def register(name: str, row: Row) -> None:
    """Adds a row to `MODELS`, so that its name stands wherever those of our own do.

    Args:
      name: that no row has, in lower case.
      row: a `Row`; its builder takes the keywords that `create` gives to those of ours.
    Raises: ValueError for a name that is taken or not in lower case, and for what is no Row.
    """
    if not isinstance(row, Row):
        raise ValueError(f"model {name!r}: give a sat_tf.models.Row, not {row!r}")
    if name != str(name).lower():
        raise ValueError(f"model {name!r}: give a name in lower case")
    add(MODELS, "model", name, row)


def create(
    name: str | Row,
    *,
    activation: str | Callable = "swish",
    num_classes: int = 1000,
    image_size: int = 224,
    activation_alpha: float | None = None,
    dropout_rate: float | None = None,
    survival_probability: float | None = None,
    batch_norm_momentum: float | None = None,
    batch_norm_epsilon: float | None = None,
    sync_batch_norm: bool = True,
    seed: int = 0,
    activation_options: dict | None = None,
) -> tf.keras.Model:
    """Returns a freshly initialised classifier.

    Args:
      name: a row of `MODELS`, or the release's spelling of one; or a `Row` itself.
      activation, activation_alpha, activation_options: as in `sat_tf.activations.create`, which
        takes functions and layer classes as well as names.
      num_classes: the number of logits.   image_size: the side of the images, from 8 pixels.
      dropout_rate: share of the pooled features dropped in training, in [0, 1).
      survival_probability: of the last residual block in training, in (0, 1].
      batch_norm_momentum, batch_norm_epsilon: in [0, 1), and above 0.
      sync_batch_norm: whether the replicas of a strategy normalise by the whole batch in training,
        and not each by its share.
      seed: the same one gives the same weights, whatever was built before.
      None stands for the model's own setting.
    Raises: ValueError for unknown names and an image_size below 8.
    """
    row = name if isinstance(name, Row) else MODELS[canonical_name(name)]
    if image_size < 8:
        raise ValueError(f"image_size={image_size}: give at least 8 pixels")

    def default(value, own):
        return own if value is None else value

    return row.builder(
        name=row.family if row is name else canonical_name(name),
        num_classes=num_classes,
        image_size=image_size,
        seed=seed,
        activation=activations.create(
            activation, activation_alpha, **default(activation_options, {})
        ),
        batch_norm=functools.partial(
            layers.batch_norm,
            default(batch_norm_momentum, row.batch_norm_momentum),
            default(batch_norm_epsilon, row.batch_norm_epsilon),
            sync=sync_batch_norm,
        ),
        dropout_rate=default(dropout_rate, row.dropout_rate),
        survival_probability=default(survival_probability, row.survival_probability),
    )


def build(config: ModelConfig, seed: int = 0) -> tf.keras.Model:
    """Returns the network that `config` describes; its activations may be frozen."""
    options = look_up(activations.ACTIVATIONS, "activation", config.activation).options
    network = create(
        config.name,
        activation=config.activation,
        num_classes=config.num_classes,
        image_size=config.image_size,
        activation_alpha=config.activation_alpha,
        dropout_rate=config.dropout_rate,
        survival_probability=config.survival_probability,
        batch_norm_momentum=config.batch_norm_momentum,
        batch_norm_epsilon=config.batch_norm_epsilon,
        sync_batch_norm=config.sync_batch_norm,
        seed=seed,
        activation_options={name: getattr(config, f"sparta_{name}") for name in options},
    )
    if config.freeze_activation:
        for layer in activation_layers(network).values():
            layer.trainable = False
    return network


def activation_layers(network: tf.keras.Model) -> dict:
    """Returns {name: layer} of the activations of a network of ours, in its order."""
    return {layer.name: layer for layer in network.layers if hasattr(layer, "activation_name")}
