"""What is done between batches and between epochs: saving, measuring, stopping."""

import math
import time

import tensorflow as tf

from sat_tf.errors import RunFailure


class StopOnNonFinite(tf.keras.callbacks.Callback):
    """Ends the run with RunFailure when the loss is no longer finite.

    It stands before the callback that saves, so the last checkpoint is from before.
    """

    def __init__(self, checkpoints):
        super().__init__()
        self._checkpoints = checkpoints

    def on_train_batch_end(self, batch, logs=None):
        if math.isfinite(logs["loss"]):
            return
        step = int(self.model.global_step.numpy())
        rate = float(self.model.optimizer.learning_rate.numpy())
        kept = self._checkpoints.latest or "none yet"
        raise RunFailure(
            f"the loss is {logs['loss']} at step {step} (learning rate {rate:.3g}); last good "
            f"checkpoint: {kept}; try a lower --learning_rate or a longer --warmup_epochs"
        )


class AtEpochEnd(tf.keras.callbacks.Callback):
    """Calls `action(epoch, logs)` after every epoch; what it adds to `logs` the later ones see."""

    def __init__(self, action):
        super().__init__()
        self._action = action

    def on_epoch_end(self, epoch, logs=None):
        self._action(epoch, logs)


class SaveState(tf.keras.callbacks.Callback):
    """Calls `save(step)` at the end of every epoch."""

    def __init__(self, save):
        super().__init__()
        self._save = save

    def on_epoch_end(self, epoch, logs=None):
        self._save(int(self.model.global_step.numpy()))


class SaveEvery(tf.keras.callbacks.Callback):
    """Calls `save()` within epochs, after so many steps or seconds since the last time.

    The end of an epoch counts as one, as the state is saved there anyway.

    Args:
      save: saves the state.
      interval: has `steps` and `seconds`, of which one is not None.
    """

    def __init__(self, save, interval):
        super().__init__()
        self._save, self._interval = save, interval

    def on_epoch_begin(self, epoch, logs=None):
        self._done = 0
        self._begin_anew()

    def on_train_batch_end(self, batch, logs=None):
        self._done = batch + 1  # the last of those that were executed together
        if self._done < self.params["steps"] and self._is_due():
            self._save()
            self._begin_anew()

    def _is_due(self):
        if self._interval.steps is not None:
            return self._done - self._saved_at >= self._interval.steps
        return time.monotonic() - self._since >= self._interval.seconds

    def _begin_anew(self):
        self._saved_at, self._since = self._done, time.monotonic()


class Evaluate(tf.keras.callbacks.Callback):
    """Calls `evaluate()` after every `every` epochs."""

    def __init__(self, evaluate, every: int):
        super().__init__()
        self._evaluate = evaluate
        self._every = every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every == 0:
            self._evaluate()


class CheckInterruption(tf.keras.callbacks.Callback):
    """Raises Interrupted between two batches, once a signal has come."""

    def __init__(self, interruption):
        super().__init__()
        self._interruption = interruption

    def on_train_batch_end(self, batch, logs=None):
        self._interruption.check_together()
