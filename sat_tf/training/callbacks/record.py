"""What is kept of training: rows, and scalars."""

import math

import tensorflow as tf


class Record(tf.keras.callbacks.Callback):
    """Hands each epoch's values on as a row and as scalars, and every `every` steps as the latter.

    Args:
      append_row: takes the kind of row, the step and the values.
      write_scalars: takes {path-like name: number} and the step.
    """

    def __init__(self, append_row, write_scalars, *, every=100):
        super().__init__()
        self._append_row = append_row
        self._scalars = write_scalars
        self._every = every

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self._every == 0:
            self._write_scalars(logs)

    def on_epoch_end(self, epoch, logs=None):
        step = self._write_scalars(logs)
        values = {name: float(value) for name, value in logs.items() if not math.isnan(value)}
        self._append_row("train", step, values)

    def _write_scalars(self, logs):
        step = int(self.model.global_step.numpy())
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        self._scalars(
            {f"train/{name}": value for name, value in logs.items() if not math.isnan(value)}, step
        )
        return step
