"""The states of a run's training on disk: which is saved when, and under which name."""

import time

from sat_tf.errors import UserError
from sat_tf.training import checkpoints


class States:
    """What a run's training saves, and goes on from or back to.

    Args:
      state: the model's `training_state`.
      folder: the RunFolder.
      decisions: the `EpochEnd` of the run, which knows the state that may be gone back to.
      keep: how many of the newest stay.

    Attributes:
      seconds: what the last save took, None before there was one.
    """

    def __init__(self, state, folder, decisions, keep=2):
        self._saved = checkpoints.Checkpoints(state, folder.checkpoints, keep)
        self._folder, self._decisions = folder, decisions
        self.seconds = None

    @property
    def latest(self) -> str:
        """The newest state's path prefix."""
        return self._saved.latest

    def restore(self) -> bool:
        """Takes the newest state; returns whether there is one."""
        return self._saved.restore()

    def save(self, step: int, **options) -> str:
        """Saves the state of an epoch's end; returns the path prefix."""
        start = time.monotonic()
        with self._folder.writing("a checkpoint"):
            prefix = self._saved.save(step, **options)
        self.seconds = time.monotonic() - start
        self._folder.settle()
        return prefix

    def save_between(self, step: int) -> str:
        """Saves the state within an epoch; returns the path prefix."""
        # Another --train_steps may make this an epoch's end.  Only what is judged has the step's
        # own name, so that the judgement can still be saved.
        judged = not self._decisions.watch or self._saved.newest_is(step)
        named = {} if judged else {"name": checkpoints.UNDECIDED}
        return self.save(step, keep=self._decisions.step_to_go_back_to, **named)

    def undo_epoch(self, accuracy: float):
        """Restores the state of the epoch before and marks it as the end of training.

        Raises: UserError where that state is no longer there.
        """
        before = self._decisions.step_to_go_back_to
        if not self._saved.restore(before):
            raise UserError(
                f"--model_dir={self._folder.path}: the checkpoint of step {before}, to "
                "which training would go back, is no longer there; give "
                "--resume=false to begin anew"
            )
        self._decisions.watch.note_collapse(accuracy)
        self.save(before, name=checkpoints.STOPPED, keep=before)
