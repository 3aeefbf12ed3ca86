"""Watching robustness during training: what is remembered between epochs, and what it decides.

    watch = Watch()
    if watch.is_collapse(0.05, drop=0.2): ...            # after an epoch with attack
    watch.note_batch(0.43, step=390)
    watch.note_validation(0.41, step=390, counts=True)   # True: the highest so far
    watch.stop(patience=5, at_end=False)                 # None: go on

Two dangers are watched for.  Robust overfitting (Rice et al., 2020, arXiv 2002.11569): robust
accuracy on examples that are not trained on falls for most of the training, so the best epoch is
rarely the last.  Catastrophic overfitting (Wong et al., 2020, arXiv 2001.03994): training against
one step loses all robustness to several within an epoch or two.

Nothing here measures; see `sat_tf.training_measurement`.
"""

from typing import NamedTuple

import tensorflow as tf

COLLAPSE_STEPS = 5  # of PGD, under which accuracy on the first batch is measured
_NONE = -1  # of a step or an accuracy that is not there yet


class Stop(NamedTuple):
    """Why training ended early: the flag that asked for it, and a sentence for people."""

    by: str
    reason: str


class Collapse(Exception):
    """Raised where accuracy on the first batch fell to `accuracy`: the epoch is to be undone."""

    def __init__(self, accuracy: float):
        super().__init__(accuracy)
        self.accuracy = accuracy


class Watch(tf.Module):
    """What has been seen of a run's robustness so far.

    It is a part of the training state, so that a run that goes on decides as an uninterrupted one.

    Attributes: scalar variables, float64 accuracies as fractions and int64 steps; -1 is none yet.
      best_accuracy, best_step: the highest robust accuracy on held-out examples, the first of
        equals, and the step it was measured at.
      epochs_since_best: epochs that count and were no better.
      validated_step: when held-out examples were last measured.
      batch_accuracy, batch_step: robust accuracy on the first batch, when last measured.
      collapsed_to: what the latter fell to in the epoch that was undone.
    """

    def __init__(self):
        super().__init__(name="watch")
        with tf.device("/CPU:0"):  # for Python alone; no step on a device reads them
            self.best_accuracy, self.batch_accuracy, self.collapsed_to = (
                tf.Variable(_NONE, dtype=tf.float64, trainable=False) for _ in range(3)
            )
            self.best_step, self.validated_step, self.batch_step = (
                tf.Variable(_NONE, dtype=tf.int64, trainable=False) for _ in range(3)
            )
            self.epochs_since_best = tf.Variable(0, dtype=tf.int64, trainable=False)

    def note_validation(self, robust_accuracy: float, *, step: int, counts: bool) -> bool:
        """Remembers an accuracy on held-out examples; returns whether it is the highest so far.

        Args:
          robust_accuracy: fraction.
          step: when it was measured.
          counts: whether an epoch that is no better uses up patience.
        """
        self.validated_step.assign(step)
        if robust_accuracy > _value(self.best_accuracy):
            self.best_accuracy.assign(robust_accuracy)
            self.best_step.assign(step)
            self.epochs_since_best.assign(0)
            return True
        self.epochs_since_best.assign_add(int(counts))
        return False

    def is_collapse(self, accuracy: float, *, drop: float) -> bool:
        """Whether `accuracy` on the first batch is more than `drop` below the last one noted."""
        before = _value(self.batch_accuracy)
        # Accuracies are counts over one batch: what equals the drop may differ in the last digit.
        return before != _NONE and before - accuracy > drop + 1e-9

    def note_batch(self, accuracy: float, *, step: int) -> None:
        """Remembers an accuracy on the first batch, a fraction, measured at `step`."""
        self.batch_accuracy.assign(accuracy)
        self.batch_step.assign(step)

    def note_collapse(self, accuracy: float) -> None:
        """Remembers that the epoch after `batch_step` was undone, and training with it ended."""
        self.collapsed_to.assign(accuracy)

    def stop(self, patience: int, *, at_end: bool) -> Stop | None:
        """Returns why training is to go no further, or None.

        Args:
          patience: epochs without a higher robust accuracy that end it; 0 for never.
          at_end: whether all steps are taken, which patience then has not cut short.
        """
        if _value(self.collapsed_to) != _NONE:
            return Stop(
                "catastrophic_drop",
                (
                    f"catastrophic overfitting: accuracy under PGD-{COLLAPSE_STEPS} on the first "
                    f"training batch fell from {_per_cent(self.batch_accuracy)} to "
                    f"{_per_cent(self.collapsed_to)} in the epoch after step "
                    f"{_value(self.batch_step)}; that epoch is undone"
                ),
            )
        since = _value(self.epochs_since_best)
        if patience and since >= patience and not at_end:
            return Stop(
                "patience",
                (
                    f"{since} epochs without a higher robust accuracy on held-out examples than "
                    f"the "
                    f"{_per_cent(self.best_accuracy)} at step {_value(self.best_step)}"
                ),
            )
        return None


def _value(variable):
    return variable.numpy().item()


def _per_cent(variable):
    return f"{100 * _value(variable):.1f} %"
