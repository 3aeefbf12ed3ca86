"""Training state on disk: save and exact resume.

checkpoints = Checkpoints(model.training_state, folder)
checkpoints.restore()
checkpoints.save(step)
"""

import os
import re
import time

import tensorflow as tf

from sat_tf import errors
from sat_tf.files import plain, real
from sat_tf.training import integrity

# A state under another name than that of a step does not take the place of the step's own.
_NAME = "checkpoint-at-step"
UNDECIDED = "checkpoint-undecided-at-step"  # of a watched run, where it has not been judged
STOPPED = "checkpoint-stopped-at-step"  # with the mark that training is over


class Checkpoints:
    """The numbered checkpoints in one folder, of which the newest are kept.

    An old one is removed only after the new one is complete, so a full disk never costs the last
    good state.

    Args:
      state: what is saved.
      directory: the folder.
      keep: how many, at least 2, so that one remains should the newest be damaged.
    """

    def __init__(self, state: tf.train.Checkpoint, directory: str, keep: int = 2):
        self._state, self._keep = state, keep
        self._directory = plain(directory)
        self._manager = self._managed(_NAME)

    def _managed(self, name):
        return tf.train.CheckpointManager(
            self._state, self._directory, max_to_keep=None, checkpoint_name=name
        )

    @property
    def latest(self):
        """Path prefix of the newest checkpoint, or None."""
        latest = self._manager.latest_checkpoint
        return latest and real(latest)

    def newest_is(self, step: int, name: str = _NAME) -> bool:
        """Whether the newest checkpoint is that of `step` under `name`."""
        return self.latest is not None and os.path.basename(self.latest) == f"{name}-{step}"

    def save(self, step: int, *, name: str = _NAME, keep=None) -> str:
        """Saves the state under `step`, unless it is there already; returns the path prefix.

        Args:
          step: where training is.
          name: the file's, before the step.
          keep: a step of which the checkpoint stays besides the newest; None: no certain one.
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
            of_step = [prefix for prefix in older if step_of(prefix) == keep][-1:]
            others = [prefix for prefix in older if prefix not in of_step]
            count = self._keep - 1 - len(of_step)
            kept = [*of_step, *(others[-count:] if count else ())]
            self._keep_only([*sorted(kept, key=older.index), self._manager.latest_checkpoint])
        return self.latest

    def restore(self, step=None) -> bool:
        """Restores the newest state exactly, or the newest of `step`; False if there is none.

        One that is damaged is left out where there is another before it, and no longer counts.
        Raises: UserError where all are damaged, or of another model.
        """
        there = [
            prefix
            for prefix in self._manager.checkpoints
            if step is None or step_of(prefix) == step
        ]
        if not there:
            return False
        newest_first = [real(prefix) for prefix in reversed(there)]
        chosen = integrity.usable(newest_first)
        restore(self._state, chosen, flag="model_dir")
        if step is None and chosen != newest_first[0]:
            self._list_only(there[: len(there) - newest_first.index(chosen)])
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
        self._list_only(kept)
        for prefix in removed:
            for file in integrity.files_of(prefix):
                os.unlink(file)

    def _list_only(self, kept):
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
        self._manager = self._managed(_NAME)


def restore(state: tf.train.Checkpoint, prefix: str, *, flag: str, partial: bool = False):
    """Restores `state`, or with `partial` what it holds of a larger one.

    Raises: UserError, naming `flag`, where the checkpoint is damaged or of something else.
    """
    try:
        status = _without_later_parts(state, prefix).restore(plain(prefix))
        if partial:
            status.expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
        problem = real(errors.one_line(error))
        raise errors.UserError(
            f"--{flag}: checkpoint {prefix} cannot be restored ({problem}); if it is damaged, "
            f"remove it and its line in "
            f"{os.path.join(os.path.dirname(prefix), 'checkpoint')}"
        ) from error


def _without_later_parts(state, prefix):
    """Returns the part of `state` that the checkpoint has, if it is from before there were more."""
    if not hasattr(state, "epochs"):
        return state
    saved = [name for name, _ in tf.train.list_variables(plain(prefix))]
    if any(name.startswith("epochs/") for name in saved):
        return state
    later = ("epochs", "save_counter")
    parts = state._trackable_children()
    return tf.train.Checkpoint(**{name: parts[name] for name in parts if name not in later})


def latest_in(directory: str) -> str | None:
    """Returns the path prefix of the newest checkpoint of a folder, None where there is none.

    One that is damaged is left out where there is another before it.
    """
    listed = tf.train.get_checkpoint_state(plain(directory))
    there = [
        real(prefix)
        for prefix in reversed(listed.all_model_checkpoint_paths if listed else ())
        if integrity.files_of(prefix) or os.path.exists(prefix)
    ]
    return integrity.usable(there)


def step_of(prefix: str) -> int:
    """Returns the step in the name of a checkpoint of ours; 0 where another named it."""
    match = re.search(r"-at-step-(\d+)$", prefix)
    return int(match.group(1)) if match else 0


def prefix_at(directory: str, step: int) -> str:
    """Returns the path prefix under which `Checkpoints` saves that step's own state."""
    return f"{directory}/{_NAME}-{step}"
