"""What is kept of training: rows, and scalars of steps."""

import math

import tensorflow as tf

# What is no mean over the epoch so far, and so is shown as it is.
_RATES = ("images_per_second", "images_per_processor_second")


class Record(tf.keras.callbacks.Callback):
    """Hands each epoch's values on as a row, and those of every so many steps as scalars.

    Keras' logs are means over the epoch so far; a scalar is the mean over the steps that were
    executed last alone.  It stands after the callbacks that add to the logs at an epoch's end, and
    hands these on as scalars as well.

    Args:
      append_row: takes the kind of row, the step and the values.
      write_scalars: takes {name: number} and the step.
      every: steps between two scalars; None for 20 in an epoch, at most one every 100 steps.
    """

    def __init__(self, append_row, write_scalars, *, every: int | None = None):
        super().__init__()
        self._append_row = append_row
        self._scalars = write_scalars
        self._every = every

    def on_epoch_begin(self, epoch, logs=None):
        # Read once an epoch: of a TPU's, each reading would wait for the step.
        self._first = int(self.model.global_step.numpy())
        self._done, self._sums = 0, {}
        steps = self.params.get("steps") or 1
        self._interval = self._every or min(100, max(1, steps // 20))

    def on_train_batch_end(self, batch, logs=None):
        before, self._done = self._done, batch + 1
        values = self._of_step(before, logs)
        if self._done // self._interval > before // self._interval:
            values["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
            self._write(values)
        self._known = {"learning_rate", *logs}

    def _of_step(self, before, logs):
        """Returns the values of the last steps, by what the sums of the epoch have grown."""
        values, steps = {}, self._done - before
        for name, value in logs.items():
            if name in _RATES:
                values[name] = value
            else:
                total = float(value) * self._done
                values[name] = (total - self._sums.get(name, 0.0)) / steps
                self._sums[name] = total
        return values

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        self._write({name: value for name, value in logs.items() if name not in self._known})
        values = {name: float(value) for name, value in logs.items() if not math.isnan(value)}
        self._append_row("train", self._first + self._done, values)

    def _write(self, values):
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        if known:
            self._scalars(known, self._first + self._done)
