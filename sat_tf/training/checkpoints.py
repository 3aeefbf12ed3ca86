"""Training state on disk: save, exact resume, and which checkpoint a path means.

checkpoints = Checkpoints(model.training_state, folder)
checkpoints.restore()
checkpoints.save(step)
"""

import glob
import os
import re
import time

import tensorflow as tf

from sat_tf import errors, tf1_checkpoint
from sat_tf.run_folder import RunFolder
from sat_tf.training.watch import Stop, Watch

# A state under another name than that of a step does not take the place of the step's own.
_NAME = "checkpoint-at-step"
UNDECIDED = "checkpoint-undecided-at-step"  # of a watched run, where it has not been judged
STOPPED = "checkpoint-stopped-at-step"  # with the mark that training is over
BEST = "best"  # the folder of the best checkpoints, beside the others
_FILE_ENDING = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


class Checkpoints:
    """The numbered checkpoints in one folder; the newest two are kept.

    Two, so that one remains should the newest be lost with a machine.  An old one is removed only
    after the new one is complete, so a full disk never costs the last good state.
    """

    def __init__(self, state: tf.train.Checkpoint, directory: str):
        self._state = state
        self._directory = directory
        self._manager = self._managed(_NAME)

    def _managed(self, name):
        return tf.train.CheckpointManager(
            self._state, self._directory, max_to_keep=None, checkpoint_name=name
        )

    @property
    def latest(self):
        """Path prefix of the newest checkpoint, or None."""
        return self._manager.latest_checkpoint

    def newest_is(self, step: int, name: str = _NAME) -> bool:
        """Whether the newest checkpoint is that of `step` under `name`."""
        return self.latest is not None and os.path.basename(self.latest) == f"{name}-{step}"

    def save(self, step: int, *, name: str = _NAME, keep=None) -> str:
        """Saves the state under `step`, unless it is there already; returns the path prefix.

        Args:
          step: where training is.
          name: the file's, before the step.
          keep: a step of which the checkpoint stays besides the newest; None: the last but one.
        """
        if not self.newest_is(step, name):
            self._manager = self._managed(name)
            try:
                self._manager.save(checkpoint_number=step, check_interval=False)
            except tf.errors.OpError:  # what a full disk has of it only keeps the disk full
                partial = f"{self._directory}/{name}-{step}_temp"
                if tf.io.gfile.exists(partial):
                    tf.io.gfile.rmtree(partial)
                raise
            older = self._manager.checkpoints[:-1]
            of_step = [prefix for prefix in older if step_of(prefix) == keep]
            self._keep_only([*(of_step or older)[-1:], self.latest])
        return self.latest

    def restore(self, step=None) -> bool:
        """Restores the newest state exactly, or the newest of `step`; False if there is none.

        Raises: UserError where it is damaged or belongs to another model.
        """
        there = [
            prefix
            for prefix in self._manager.checkpoints
            if step is None or step_of(prefix) == step
        ]
        if not there:
            return False
        restore(self._state, there[-1], flag="model_dir")
        return True

    def forget_after(self, step: int):
        """Removes the checkpoints of later steps, which a resumed run is about to take again."""
        self._keep_only([prefix for prefix in self._manager.checkpoints if step_of(prefix) <= step])

    def _keep_only(self, kept):
        there = self._manager.checkpoints
        removed = [prefix for prefix in there if prefix not in kept]
        if not removed:
            return
        # The list comes first, so that at no time it names what is not there.
        if kept:
            names = [os.path.basename(prefix) for prefix in kept]  # relative: folders may move
            tf.compat.v1.train.update_checkpoint_state(
                os.path.abspath(self._directory),
                names[-1],
                names,
                all_model_checkpoint_timestamps=[time.time()] * len(names),
            )
        else:
            os.unlink(os.path.join(self._directory, "checkpoint"))
        for prefix in removed:
            for file in glob.glob(glob.escape(prefix) + ".*"):
                os.unlink(file)
        self._manager = self._managed(_NAME)


def restore(state: tf.train.Checkpoint, prefix: str, *, flag: str, partial: bool = False):
    """Restores `state`, or with `partial` what it holds of a larger one.

    Raises: UserError, naming `flag`, where the checkpoint is damaged or of something else.
    """
    try:
        status = state.restore(prefix)
        if partial:
            status.expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
        raise errors.UserError(
            f"--{flag}: checkpoint {prefix} cannot be restored ({errors.one_line(error)}); if it "
            f"is "
            f"damaged, remove it and its line in "
            f"{os.path.join(os.path.dirname(prefix), 'checkpoint')}"
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
        raise errors.UserError(
            f"--{flag}={path}: several checkpoints there "
            f"({errors.few(prefixes)}); give the path of one"
        )
    prefix = os.path.join(path, prefixes[0]) if prefixes else _FILE_ENDING.sub("", path)
    if os.path.exists(prefix + ".index"):
        return prefix
    if os.path.isfile(path):  # an .npz file, or TensorFlow's older format
        return path
    raise errors.UserError(
        f"--{flag}={path}: no checkpoint there; give a run folder, a "
        "checkpoint's path without .index or .data, or an .npz file"
    )


def _prefixes_in(folder):
    """The checkpoints of a folder whose `checkpoint` file is missing or names another place."""
    return sorted(
        name.removesuffix(".index") for name in os.listdir(folder) if name.endswith(".index")
    )


def run_of(path: str) -> str:
    """Returns the run folder that a path for `find` lies in, or would."""
    folder = os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path))
    parent, name = os.path.split(folder)
    if name == BEST and os.path.basename(parent) == "checkpoints":
        return os.path.dirname(parent)
    return path if os.path.isdir(path) and name != "checkpoints" else parent


def is_run(path: str) -> bool:
    """Whether `path` is a run's folder, with checkpoints in it."""
    return _latest_of(path) is not None


def _latest_of(path):
    folder = os.path.join(path, "checkpoints")
    return tf.train.latest_checkpoint(folder) if os.path.isdir(folder) else None


def kept_of(path: str) -> dict[str, str]:
    """Returns {"best": prefix, "last": prefix} of a run's folder.

    Empty where `path` is none, or of a run without a best checkpoint.  The newest state says which
    one is the best: a killed run may have left another that no state knows of.
    """
    last = _latest_of(path)
    watch = last and _watch_of(last)
    if not watch or watch.best_step < 0:
        return {}
    return {"best": f"{path}/checkpoints/{BEST}/{_NAME}-{int(watch.best_step)}", "last": last}


def resolve(path: str, flag="init_checkpoint", chosen: str | None = None) -> str:
    """Returns the checkpoint that `path` means where its weights are used.

    Of a run's folder that is the one the run is evaluated with, else what `find` returns.

    Args:
      path: as for `find`.
      chosen: "best" or "last"; None for what the run's config.json says.
    Raises: UserError, naming `flag`, where there is none, or no best one yet.
    """
    latest = _latest_of(path)
    if latest is None:
        return find(path, flag)
    if chosen is None:
        config = RunFolder(path).stored_config(flag)
        chosen = config.evaluation.checkpoint if config else "last"
    kept = kept_of(path)
    if chosen == "best" and not kept:
        raise errors.UserError(
            f"--{flag}={path}: has no best checkpoint yet; train on there, or "
            f"name its newest, {latest}"
        )
    return kept.get(chosen, latest)


def stop_of(prefix: str) -> Stop | None:
    """Returns why training ended early at a checkpoint, as `Watch.stop`, or None.

    Patience and length are those of the run it lies in; where there is none, only a collapse shows.
    """
    watch = _watch_of(prefix)
    config = watch and RunFolder(run_of(prefix)).stored_config()
    if not config:
        return watch and watch.stop(0, at_end=False)
    return watch.stop(
        config.evaluation.patience, at_end=step_of(prefix) >= config.optimizer.train_steps
    )


def _watch_of(prefix):
    """Returns the Watch in a checkpoint, or None where its run was not watched."""
    if not os.path.exists(prefix + ".index") or not any(
        key.startswith("watch/") for key in tf1_checkpoint.read(prefix, "model_dir").shapes
    ):
        return None
    watch = Watch()
    restore(tf.train.Checkpoint(watch=watch), prefix, flag="model_dir", partial=True)
    return watch


def step_of(prefix: str) -> int:
    """Returns the step in the name of a checkpoint of ours; 0 where another named it."""
    match = re.search(r"-at-step-(\d+)$", prefix)
    return int(match.group(1)) if match else 0
