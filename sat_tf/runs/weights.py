"""A network's weights from a checkpoint, of a run of ours or of the original release.

prefix = load_initial(classifier, Initial("runs/example"))
"""

from typing import NamedTuple

import tensorflow as tf

from sat_tf import errors, release, training
from sat_tf.runs import checkpoints

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


class Initial(NamedTuple):
    """A checkpoint to begin with: a path to `resolve`, and how to read one of the release."""

    path: str
    channels: str | None = None
    averaged: bool = False


def load_initial(classifier: tf.keras.Model, initial: Initial, flag="init_checkpoint") -> str:
    """Fills `classifier` as `load_classifier` does; returns the prefix that `resolve` gives."""
    prefix = checkpoints.resolve(initial.path, flag)
    load_classifier(classifier, prefix, flag, channels=initial.channels, averaged=initial.averaged)
    return prefix


def load_classifier(
    classifier: tf.keras.Model,
    prefix: str,
    flag="init_checkpoint",
    *,
    channels=None,
    averaged: bool = False,
):
    """Fills `classifier` with the weights of a checkpoint of ours or of the original release.

    Of ours, the weights are those that are evaluated: the average where one was kept.

    Args:
      prefix: what `checkpoints.find` returned.
      channels, averaged: as in `release.fill`, for checkpoints of the release only.
    Raises: UserError, naming `flag` and what differs, if it is not of such a classifier.
    """
    checkpoint = release.read(prefix, flag)
    if any(key.startswith("classifier/") for key in checkpoint.shapes):
        _check_no_release_flags(prefix, channels, averaged)
        _load_ours(classifier, prefix, checkpoint.shapes, flag)
    elif release.recognise(checkpoint):
        release.fill(classifier, checkpoint, channels=channels, averaged=averaged)
    else:
        raise errors.UserError(
            f"--{flag}: {prefix} is not a checkpoint of a sat_tf run, nor of the original release "
            f"(it holds {errors.few(sorted(checkpoint.shapes))}); name one that is"
        )


def _check_no_release_flags(prefix, channels, averaged):
    for name, value in (("channels", channels), ("ema", averaged and "true")):
        if value:
            raise errors.UserError(
                f"--checkpoint_{name}={value}: {prefix} is of a sat_tf run, and the flag is for "
                "checkpoints of the original release; leave it out"
            )


def _load_ours(classifier, prefix, shapes, flag):
    _check_fits(classifier, prefix, shapes, flag)
    state = {"classifier": classifier}
    averaged = any(key.startswith("average/") for key in shapes)
    if averaged:
        state["average"] = training.WeightAverage(classifier, decay=0.5)  # decay is not used
    training.checkpoints.restore(tf.train.Checkpoint(**state), prefix, flag=flag, partial=True)
    if averaged:
        state["average"].copy_to_classifier()


def _check_fits(classifier, prefix, shapes, flag):
    there = sorted(
        shape
        for key, shape in shapes.items()
        if key.startswith("classifier/") and key.endswith(_VALUE) and ".OPTIMIZER_SLOT" not in key
    )
    here = sorted(tuple(w.shape) for w in classifier.weights)
    if there != here:
        only_there, only_here = (_without(a, b) for a, b in ((there, here), (here, there)))
        raise errors.UserError(
            f"--{flag}: {prefix} is of another model: it has {len(there)} variables, "
            f"{classifier.name} has {len(here)}; shapes only there: {errors.few(only_there)}; only "
            f"here: {errors.few(only_here)}"
        )


def _without(shapes, others):
    others = list(others)
    left = []
    for shape in shapes:
        if shape in others:
            others.remove(shape)
        else:
            left.append(shape)
    return left
