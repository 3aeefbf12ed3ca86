"""Training state on disk: save, exact resume, and the weights alone for evaluation.

    checkpoints = Checkpoints(model.training_state, folder)
    checkpoints.restore()
    checkpoints.save(step)
"""

import os
import re

import tensorflow as tf

from sat_tf import errors
from sat_tf.training import optimization

_NAME = "checkpoint-at-step"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


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
    """Returns the checkpoint prefix that `path` means: a prefix itself, or a run folder's newest.

    Raises: UserError, naming `flag`, where there is none.
    """
    for folder in (path, os.path.join(path, "checkpoints")):
        if os.path.isdir(folder) and tf.train.latest_checkpoint(folder):
            return tf.train.latest_checkpoint(folder)
    if os.path.exists(path + ".index"):
        return path
    raise errors.UserError(f"--{flag}={path}: no checkpoint there; give a run folder or a "
                           "checkpoint's path without .index or .data")


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


def load_classifier(classifier: tf.keras.Model, prefix: str, flag="init_checkpoint"):
    """Fills `classifier` with the weights that are evaluated: the average where one was kept.

    Raises: UserError, naming `flag` and what differs, if the checkpoint is not of such a classifier.
    """
    try:
        shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
    except (tf.errors.OpError, ValueError) as error:
        raise errors.UserError(f"--{flag}: {prefix} is not a readable checkpoint "
                               f"({errors.one_line(error)}); name another") from error
    _check_fits(classifier, prefix, shapes, flag)
    state = {"classifier": classifier}
    averaged = any(key.startswith("average/") for key in shapes)
    if averaged:
        state["average"] = optimization.WeightAverage(classifier, decay=0.5)  # decay is not used
    _restore(tf.train.Checkpoint(**state), prefix, flag=flag, partial=True)
    if averaged:
        state["average"].copy_to_classifier()


def _check_fits(classifier, prefix, shapes, flag):
    there = sorted(tuple(shape) for key, shape in shapes.items()
                   if key.startswith("classifier/") and key.endswith(_VALUE)
                   and ".OPTIMIZER_SLOT" not in key)
    if not there:
        names = ", ".join(sorted(shapes)[:3])
        raise errors.UserError(f"--{flag}: {prefix} is not a checkpoint of a sat_tf run (it holds "
                               f"{names}, …); name one that is")
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
