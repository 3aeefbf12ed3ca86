"""Fills a classifier from a checkpoint of the original TensorFlow 1 release.

    checkpoint = read("downloads/Res50-silu")
    classifier = models.create("resnet50", activation="silu")
    fill(classifier, checkpoint)

Names and layouts: the kernels of both sides have the same axes, so nothing is transposed; grouped
kernels are [k, k, in / groups, out] on both.  `smoothrelu_beta` is the root of alpha on both.
"""

import collections
import re

import tensorflow as tf

from sat_tf import errors
from sat_tf.models import layers
from sat_tf.release.checkpoint import AVERAGED, Checkpoint, network_shapes, recognise

_TENSORPACK = {
    "kernel": "W",
    "bias": "b",
    "raw_alpha": "smoothrelu_beta",
    "moving_mean": "mean/EMA",
    "moving_variance": "variance/EMA",
}
_TF_LAYERS = {
    tf.keras.layers.Conv2D: "conv2d",
    tf.keras.layers.Dense: "dense",
    tf.keras.layers.DepthwiseConv2D: "depthwise_conv2d",
    layers.BatchNormalization: "tpu_batch_normalization",
}
_CHANNELS = ("rgb", "bgr")


def fill(
    classifier: tf.keras.Model, checkpoint: Checkpoint, *, channels=None, averaged: bool = False
):
    """Gives every weight of `classifier` its value in `checkpoint`, or changes none.

    Args:
      classifier: a network of `sat_tf.models`, under any distribution strategy.
      checkpoint: what `read` returned.
      channels: "rgb" or "bgr", the order in which the network was fed; "bgr" reverses the input
        axis of the first kernel, as images are RGB here.  None: "bgr" for ResNets, which the
        release feeds what OpenCV reads, and "rgb" for EfficientNets, which it feeds RGB.
      averaged: whether to take the moving averages of the variables, batch-norm statistics
        included, rather than the variables.  Of the release's networks only EfficientNet-L1
        "Enhanced" is evaluated so.
    Raises: UserError, one line, if it is no checkpoint of the release, does not fit, is damaged, or
      `channels` or `averaged` ask for what it has not.
    """
    network = recognise(checkpoint)
    if network is None:
        raise errors.UserError(
            f"--{checkpoint.flag}={checkpoint.path}: not a checkpoint of the original release (it "
            f"holds {errors.few(sorted(checkpoint.shapes))}); name one that is"
        )
    reverses = _reverses_channels(network, checkpoint, channels)
    weights = variables(classifier, network.scope)
    _check_fits(classifier, weights, checkpoint, network)
    names = _stored_names(weights, checkpoint, averaged)
    values = {
        name: checkpoint.tensor(names[name]).reshape(weight.shape)
        for name, weight in weights.items()
    }
    if reverses:
        values["conv0/W"] = values["conv0/W"][:, :, ::-1, :]
    for name, weight in weights.items():
        weight.assign(values[name])


def variables(classifier: tf.keras.Model, scope: str = ""):
    """Returns {name in the release: weight} for all floating-point weights of `classifier`.

    Args:
      classifier: any classifier; the names of one that is not of the release's families match
        nothing there.
      scope: the root of an EfficientNet's names, as "efficientnet-b0"; ResNets have none.
    The counters of our random layers have no counterpart and are left out.
    """
    is_efficientnet = any(layer.name == "stem_conv" for layer in classifier.layers)
    name_of = _EfficientNetNames(scope) if is_efficientnet else _resnet_name
    named = {}
    for layer in classifier.layers:
        floats = [weight for weight in layer.weights if weight.dtype.is_floating]
        for weight, name in zip(floats, name_of(layer, [_leaf(weight) for weight in floats])):
            # Never twice in a network of ours; in another it is refused, as all its names are.
            named[weight.name if name in named else name] = weight
    return named


def _leaf(weight):
    return weight.name.rpartition("/")[2].split(":")[0]


def _resnet_name(layer, leaves):
    """group0_block1_conv2_bn/moving_mean is group0/block1/conv2/bn/mean/EMA, and so on."""
    base = layer.name
    if _is_smoothrelu(layer):  # it lies in the scope of what it follows
        base = base.removesuffix("_activation")
    return [f"{base.replace('_', '/')}/{_TENSORPACK.get(leaf, leaf)}" for leaf in leaves]


class _EfficientNetNames:
    """tf.layers' rule: a layer is named after its kind, and numbered from the second in its scope.

    So what a number means depends on whether the block has an expansion.  It must see the layers
    in the order of their use, which `Model.layers` has within a block.  The release has no
    EfficientNet with smoothrelu; the names of its weights are what the same rule would give.
    """

    def __init__(self, scope):
        self._scope = scope
        self._seen = collections.Counter()

    def __call__(self, layer, leaves):
        if not leaves:
            return []
        part = re.match(r"(stem|head|blocks_\d+)_(se_)?", layer.name)
        scopes = [self._scope, *(filter(None, part.groups()) if part else ["head"])]
        kind = _kind(layer)
        name = "/".join([scope.rstrip("_") for scope in scopes if scope] + [kind])
        number = self._seen[name]
        self._seen[name] += 1
        suffix = f"_{number}" if number else ""
        return [f"{name}{suffix}/{leaf.replace('raw_alpha', 'smoothrelu_beta')}" for leaf in leaves]


def _kind(layer):
    if _is_smoothrelu(layer):
        return "smoothrelu"
    return _TF_LAYERS.get(type(layer), type(layer).__name__)


def _is_smoothrelu(layer):
    return getattr(layer, "activation_name", None) == "smoothrelu"


def _reverses_channels(network, checkpoint, channels):
    if channels not in (None, *_CHANNELS):
        raise errors.UserError(
            f"--checkpoint_channels={channels}: unknown; give one of {', '.join(_CHANNELS)}"
        )
    if network.family == "resnet":
        return channels != "rgb"
    if channels == "bgr":
        raise errors.UserError(
            f"--checkpoint_channels=bgr: {checkpoint.path} is an EfficientNet, which the release "
            "feeds RGB; leave the flag out or give --checkpoint_channels=rgb"
        )
    return False


def _check_fits(classifier, weights, checkpoint, network):
    """Raises UserError listing both sides unless all names and shapes are the same."""
    there = network_shapes(checkpoint, network)
    here = {name: tuple(weight.shape) for name, weight in weights.items()}
    conflicts = [
        f"{name} (there {there[name]}, here {here[name]})"
        for name in here
        if name in there and not _same_shape(there[name], here[name])
    ]
    if there.keys() == here.keys() and not conflicts:
        return
    differences = "; ".join(
        f"{what}: {errors.few(names)}"
        for what, names in (
            ("only in the checkpoint", sorted(there.keys() - here.keys())),
            ("only in the model", [name for name in here if name not in there]),
            ("other shapes", conflicts),
        )
    )
    raise errors.UserError(f"{_cause(classifier, checkpoint, network)}; {differences}")


def _same_shape(there, here):
    """Whether they agree; a vector may have had axes of size 1, as the release's batch norms do."""

    def bare(shape):
        return [size for size in shape if size != 1] if len(here) == 1 else list(shape)

    return bare(there) == bare(here)


def _cause(classifier, checkpoint, network):
    """Returns the flags that were given and say another network, and those that say this one."""
    given, facts, remedies = [], [], []

    def note(flag, value, fact, remedy):
        given.append(f"--{flag}={value}")
        facts.append(fact)
        remedies.append(f"--{flag}={remedy}")

    if network.model not in (None, classifier.name):
        note("model", classifier.name, f"is a checkpoint of {network.model}", network.model)
    num_classes = classifier.output_shape[-1]
    if network.num_classes not in (None, num_classes):
        note("num_classes", num_classes, f"has {network.num_classes} classes", network.num_classes)
    activation = next(
        (layer for layer in classifier.layers if hasattr(layer, "activation_name")), None
    )
    if activation is not None and network.learns_smoothrelu != bool(activation.weights):
        if network.learns_smoothrelu:
            note("activation", activation.activation_name, "has learnt smoothrelu", "smoothrelu")
        else:
            note(
                "activation",
                activation.activation_name,
                "has learnt no activation",
                "swish, or relu, or whichever it was trained with",
            )
    if not given:
        return (
            f"--{checkpoint.flag}={checkpoint.path}: does not fit {classifier.name}; give a "
            "checkpoint of that network"
        )
    return f"{' '.join(given)}: {checkpoint.path} {' and '.join(facts)}; give {' '.join(remedies)}"


def _stored_names(weights, checkpoint, averaged):
    """Returns {name: name in the checkpoint} of the form that is wanted.

    Raises: UserError if a variable is there in the other form only.
    """
    names = {name: name + AVERAGED * averaged for name in weights}
    missing = [name for name, stored in names.items() if stored not in checkpoint.shapes]
    if missing:
        form = "moving average" if averaged else "value but a moving average"
        raise errors.UserError(
            f"--checkpoint_ema={str(averaged).lower()}: {checkpoint.path} has no {form} of "
            f"{errors.few(missing)}; give --checkpoint_ema={str(not averaged).lower()}"
        )
    return names
