"""Starts a network's sparta activations from those that another run has learnt.

    network = models.create("resnet32", activation="sparta", num_classes=10, image_size=32)
    activation_transfer.transfer(network, "runs/resnet20-sparta-cifar10-pgd")

This is what Guo et al., 2021, https://arxiv.org/abs/2105.08269, do between networks (ResNet-18 to
-34) and between data sets (CIFAR-10 to SVHN), the activations then being kept as they are.  How
they map one network's places to another's is not known to us; the mapping here is ours.
"""

import re
from collections.abc import Iterable

import tensorflow as tf

from sat_tf import models
from sat_tf.config import ModelConfig
from sat_tf.errors import UserError, few
from sat_tf.runs import checkpoints, plugins, weights
from sat_tf.runs.folder import RunFolder

_FLAG = "sparta_from"
_IN_A_GROUP = re.compile(r"group(\d+)_block(\d+)_(.+)")


def source_config(path: str) -> ModelConfig:
    """Returns the settings of the network whose run `path` names.

    Args:
      path: a run's folder, or a checkpoint in one.
    Raises: UserError where there is no run of ours, or one without sparta.
    """
    config = RunFolder(checkpoints.run_of(path)).stored_config(_FLAG)
    if config is None:
        raise UserError(
            f"--{_FLAG}={path}: no run of this project there; give the folder of one, "
            "or a checkpoint in it"
        )
    if config.model.activation != "sparta":
        raise UserError(
            f"--{_FLAG}={path}: its activation is {config.model.activation}, not "
            "sparta; name a run with --activation=sparta"
        )
    plugins.restore(config, flag=_FLAG)
    return config.model


def mapping(there: Iterable[str], here: Iterable[str]) -> dict[str, str]:
    """Returns {a name of `here`: the name of `there` whose weights it starts with}.

    A place has its namesake's.  Of the residual networks, a block that the source's group does not
    reach takes those of the group's last block, from the place of the same role.  The blocks of an
    EfficientNet are numbered through its stages, so namesakes are alike only where all names agree.

    Args:
      there, here: names of activations, as the networks of `sat_tf.models` have them.
    Raises: ValueError naming the places without a counterpart.
    """
    there, here = set(there), list(here)
    found = {name: name if name in there else _last_block(name, there) for name in here}
    lost = [name for name, source in found.items() if source is None]
    if lost:
        raise ValueError(f"it has no counterpart of {few(lost)}")
    if any(name.startswith("blocks_") for name in here) and there != set(here):
        raise ValueError("its stages have other numbers of blocks")
    return found


def _last_block(name, there):
    """The activation of the same group and role in the group's last block, or None."""
    place = _IN_A_GROUP.fullmatch(name)
    if place is None:
        return None
    group, _, role = place.groups()
    blocks = [
        int(other[2])
        for other in map(_IN_A_GROUP.fullmatch, there)
        if other and (other[1], other[3]) == (group, role)
    ]
    return f"group{group}_block{max(blocks)}_{role}" if blocks else None


def transfer(classifier: tf.keras.Model, path: str) -> tuple[dict[str, str], str]:
    """Overwrites the activations of `classifier` with those of a run; nothing, if they do not fit.

    The weights are those that the run is evaluated with: of its best checkpoint where it keeps one
    and was not told otherwise, and the average where one was kept.

    Args:
      classifier: a network of `sat_tf.models` with sparta; under a strategy, outside of a replica.
      path: as in `source_config`.
    Returns: what `mapping` returned, and the path prefix of the checkpoint.
    Raises: UserError, naming what does not fit and the remedy.
    """
    config = source_config(path)
    prefix = checkpoints.resolve(path, _FLAG)
    source = models.build(config)
    here, there = models.activation_layers(classifier), models.activation_layers(source)
    try:
        names = mapping(there, here)
    except ValueError as error:
        raise UserError(
            f"--{_FLAG}={path}: {config.name} does not map to {classifier.name}: "
            f"{error}; name a run of a network of the same kind"
        ) from error
    pairs = {name: (there[names[name]], here[name]) for name in here}
    _check_fits(pairs, path)
    weights.load_classifier(source, prefix, _FLAG)
    for learnt, layer in pairs.values():
        for value, weight in zip(learnt.weights, layer.weights):
            weight.assign(value)
    return names, prefix


def _check_fits(pairs, path):
    misfits = [name for name, layers in pairs.items() if len(set(map(_shapes, layers))) > 1]
    if not misfits:
        return
    shown = [
        f"{name} is {' and '.join(map(str, _shapes(there)))} there, "
        f"{' and '.join(map(str, _shapes(here)))} here"
        for name, (there, here) in pairs.items()
        if name in misfits[:3]
    ]
    there, here = pairs[misfits[0]]
    raise UserError(
        f"--{_FLAG}={path}: {len(misfits)} of {len(pairs)} activations have other "
        f"shapes: {'; '.join(shown)}{'; …' if len(misfits) > 3 else ''}; "
        f"{_remedy(there, here)}"
    )


def _shapes(layer):
    return tuple(tuple(weight.shape) for weight in layer.weights)


def _remedy(there, here):
    if there.kernel_size != here.kernel_size:
        return f"give --sparta_kernel_size={there.kernel_size}, or leave it out"
    if there.shared != here.shared:
        return f"give --sparta_shared={str(there.shared).lower()}, or leave it out"
    return (
        "train the source with --sparta_shared=true, whose taps fit any number of channels, or "
        "name a run of a network of this width"
    )
