"""Training state on disk: save, exact resume, and the weights alone for evaluation.

    checkpoints = Checkpoints(model.training_state, folder)
    checkpoints.restore()
    checkpoints.save(step)
"""

import os
import re
from typing import NamedTuple, Optional

import tensorflow as tf

from sat_tf import errors, tf1_checkpoint, tf1_import
from sat_tf.training import optimization

_NAME = "checkpoint-at-step"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_FILE_ENDING = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


class Initial(NamedTuple):
    """A checkpoint to begin with: a path for `find`, and how to read one of the release's."""
    path: str
    channels: Optional[str] = None
    averaged: bool = False


class Checkpoints:
    """The numbered checkpoints of one run; the newest two are kept.

    Two, so that one remains should the newest be lost with a machine.  An old one is removed only
    after the new one is complete, so a full disk never costs the last good state.
    """

    def __init__(self, state: tf.train.Checkpoint, directory: str):
        self._state = state
        self._manager = tf.train.CheckpointManager(
            state, directory, max_to_keep=2, checkpoint_name=_NAME)

    @property
    def latest(self):
        """Path prefix of the newest checkpoint, or None."""
        return self._manager.latest_checkpoint

    def save(self, step: int) -> str:
        """Saves the state under `step`, unless it is there already; returns the path prefix."""
        if self.latest is None or step_of(self.latest) != step:
            try:
                self._manager.save(checkpoint_number=step, check_interval=False)
            except tf.errors.OpError:  # what a full disk has of it only keeps the disk full
                partial = f"{self._manager.directory}/{_NAME}-{step}_temp"
                if tf.io.gfile.exists(partial):
                    tf.io.gfile.rmtree(partial)
                raise
        return self.latest

    def restore(self) -> bool:
        """Restores the newest state exactly; False if there is none.

        Raises: UserError where it is damaged or belongs to another model.
        """
        if self.latest is None:
            return False
        _restore(self._state, self.latest, flag="model_dir")
        return True


def _restore(state, prefix, *, flag, partial=False):
    try:
        status = state.restore(prefix)
        if partial:
            status.expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
        raise errors.UserError(
            f"--{flag}: checkpoint {prefix} cannot be restored ({errors.one_line(error)}); if it is "
            f"damaged, remove it and its line in {os.path.join(os.path.dirname(prefix), 'checkpoint')}"
        ) from error


def find(path: str, flag="init_checkpoint") -> str:
    """Returns the checkpoint prefix that `path` means, or the file where it is of one file.

    Args:
      path: a prefix; one of a checkpoint's files; an .npz file; a run's folder or another one with
        checkpoints, whose newest is meant.
    Raises: UserError, naming `flag`, where there is none, or several and none is the newest.
    """
    for folder in (path, os.path.join(path, "checkpoints")):
        if os.path.isdir(folder) and tf.train.latest_checkpoint(folder):
            return tf.train.latest_checkpoint(folder)
    prefixes = _prefixes_in(path) if os.path.isdir(path) else []
    if len(prefixes) > 1:
        raise errors.UserError(f"--{flag}={path}: several checkpoints there "
                               f"({tf1_import.few(prefixes)}); give the path of one")
    prefix = os.path.join(path, prefixes[0]) if prefixes else _FILE_ENDING.sub("", path)
    if os.path.exists(prefix + ".index"):
        return prefix
    if os.path.isfile(path):  # an .npz file, or TensorFlow's older format
        return path
    raise errors.UserError(f"--{flag}={path}: no checkpoint there; give a run folder, a "
                           "checkpoint's path without .index or .data, or an .npz file")


def _prefixes_in(folder):
    """The checkpoints of a folder whose `checkpoint` file is missing or names another place."""
    return sorted(name.removesuffix(".index") for name in os.listdir(folder)
                  if name.endswith(".index"))


def run_of(path: str) -> str:
    """Returns the run folder that a path for `find` lies in, or would."""
    if os.path.isdir(path) and os.path.basename(os.path.normpath(path)) != "checkpoints":
        return path
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    return os.path.dirname(os.path.abspath(folder))


def step_of(prefix: str) -> int:
    """Returns the step in the name of a checkpoint of ours; 0 where another named it."""
    match = re.search(rf"{_NAME}-(\d+)$", prefix)
    return int(match.group(1)) if match else 0


def load_classifier(classifier: tf.keras.Model, prefix: str, flag="init_checkpoint", *,
                    channels=None, averaged: bool = False):
    """Fills `classifier` with the weights of a checkpoint of ours or of the original release.

    Of ours, the weights are those that are evaluated: the average where one was kept.

    Args:
      prefix: what `find` returned.
      channels, averaged: as in `tf1_import.fill`, for checkpoints of the release only.
    Raises: UserError, naming `flag` and what differs, if it is not of such a classifier.
    """
    checkpoint = tf1_checkpoint.read(prefix, flag)
    if any(key.startswith("classifier/") for key in checkpoint.shapes):
        _check_no_release_flags(prefix, channels, averaged)
        _load_ours(classifier, prefix, checkpoint.shapes, flag)
    elif tf1_checkpoint.recognise(checkpoint):
        tf1_import.fill(classifier, checkpoint, channels=channels, averaged=averaged)
    else:
        raise errors.UserError(
            f"--{flag}: {prefix} is not a checkpoint of a sat_tf run, nor of the original release "
            f"(it holds {tf1_import.few(sorted(checkpoint.shapes))}); name one that is")


def _check_no_release_flags(prefix, channels, averaged):
    for name, value in (("channels", channels), ("ema", averaged and "true")):
        if value:
            raise errors.UserError(
                f"--checkpoint_{name}={value}: {prefix} is of a sat_tf run, and the flag is for "
                "checkpoints of the original release; leave it out")


def _load_ours(classifier, prefix, shapes, flag):
    _check_fits(classifier, prefix, shapes, flag)
    state = {"classifier": classifier}
    averaged = any(key.startswith("average/") for key in shapes)
    if averaged:
        state["average"] = optimization.WeightAverage(classifier, decay=0.5)  # decay is not used
    _restore(tf.train.Checkpoint(**state), prefix, flag=flag, partial=True)
    if averaged:
        state["average"].copy_to_classifier()


def _check_fits(classifier, prefix, shapes, flag):
    there = sorted(shape for key, shape in shapes.items()
                   if key.startswith("classifier/") and key.endswith(_VALUE)
                   and ".OPTIMIZER_SLOT" not in key)
    here = sorted(tuple(w.shape) for w in classifier.weights)
    if there != here:
        only_there, only_here = (_without(a, b) for a, b in ((there, here), (here, there)))
        raise errors.UserError(
            f"--{flag}: {prefix} is of another model: it has {len(there)} variables, "
            f"{classifier.name} has {len(here)}; shapes only there: {_few(only_there)}; only here: {_few(only_here)}")


def _without(shapes, others):
    others = list(others)
    left = []
    for shape in shapes:
        if shape in others:
            others.remove(shape)
        else:
            left.append(shape)
    return left


def _few(shapes):
    return ", ".join(map(str, shapes[:3])) + (", …" if len(shapes) > 3 else "") or "none"
