"""Keras callbacks of a run: what happens between batches and between epochs.

`Throughput` comes first in the list, since the later ones show what it measures.
"""

import functools
import math
import sys
import time

import tensorflow as tf

from sat_tf.errors import RunFailure
from sat_tf.training.measures import ADVERSARIAL


class Throughput(tf.keras.callbacks.Callback):
    """Adds `images_per_second` to the logs, over the epoch so far, tracing of the first step aside.

    And `images_per_processor_second`, of all processors that this process used, which on a CPU is
    about the same on a machine that others use as well.
    """

    def __init__(self, batch_size: int):
        super().__init__()
        self._batch_size = batch_size
        self._traced = False

    def on_epoch_begin(self, epoch, logs=None):
        self._start_from(0)
        self._taken = 0

    def on_train_batch_end(self, batch, logs=None):
        self._taken = batch + 1
        if not self._traced:
            self._traced = True
            self._start_from(self._taken)
        self._add(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._add(logs)

    def _start_from(self, steps):
        self._before, self._since, self._used = steps, time.monotonic(), time.process_time()

    def _add(self, logs):
        steps = self._taken - self._before
        if steps:
            images = steps * self._batch_size
            logs["images_per_second"] = images / (time.monotonic() - self._since)
            logs["images_per_processor_second"] = images / (time.process_time() - self._used)


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


class Progress(tf.keras.callbacks.Callback):
    """A progress bar an epoch on a terminal, a line an epoch elsewhere; accuracies in per cent."""

    SHOWN = ("loss", "clean_accuracy", "adversarial_accuracy", "images_per_second")

    def __init__(self, total_epochs: int, stream=None):
        super().__init__()
        self._stream = stream or sys.stdout
        self._epochs = total_epochs
        self._drawn = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._steps = self.params["steps"]

    def on_train_batch_end(self, batch, logs=None):
        if self._stream.isatty() and time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            done = batch + 1
            bar = "=" * (20 * done // self._steps)
            self._write(
                f"\r\033[Kepoch {self._epoch + 1}/{self._epochs} [{bar:20}] "
                f"{done}/{self._steps}  {self._line(logs)}"
            )

    def on_epoch_end(self, epoch, logs=None):
        start = "\r\033[K" if self._stream.isatty() else ""
        self._write(f"{start}epoch {epoch + 1}/{self._epochs}  {self._line(logs)}\n")

    def _line(self, logs):
        parts = []
        for name in self.SHOWN:
            value = logs.get(name, math.nan)
            if not math.isnan(value):
                label = name.replace("_", " ").replace("images per second", "images/s")
                parts.append(
                    f"{label} {100 * value:.1f} %"
                    if name.endswith("accuracy")
                    else f"{label} {value:.0f}"
                    if "per_second" in name
                    else f"{label} {value:.4f}"
                )
        return "  ".join(parts)

    def _write(self, text):
        self._stream.write(text)
        self._stream.flush()


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


class CountsEpochs:
    """Tells the model and its method which epoch begins, and so whether the attack has begun.

    Epochs are counted over all calls of `fit`, in `model.epochs`; one that is told its
    `initial_epoch` is believed.  Until the attack has begun, `adversarial_accuracy` would be that
    of clean images; it becomes NaN in the logs, and callbacks that would stop for it, or
    lower the rate, are not asked.

    A callback of either Keras has it before that Keras' own among its bases, and in `judges` the
    kinds of callbacks that judge by what is in the logs.

    Args:
      others: the callbacks that come after this one.
    """

    def __init__(self, others=()):
        super().__init__()
        self._judges = [callback for callback in others if isinstance(callback, self.judges)]

    def on_train_begin(self, logs=None):
        self._first = None
        for judge in self._judges:
            ask = functools.partial(type(judge).on_epoch_end, judge)
            judge.on_epoch_end = functools.partial(self._ask, ask, judge.monitor)

    def on_train_end(self, logs=None):
        for judge in self._judges:
            judge.__dict__.pop("on_epoch_end", None)  # the class has its own

    def on_epoch_begin(self, epoch, logs=None):
        if self._first is None:
            self._first = int(self.model.epochs.numpy()) if epoch == 0 else 0
        self._epoch = self._first + epoch
        self._attacking = self._epoch >= self.model.clean_epochs
        self.model.attacking.assign(self._attacking)
        if self.model.method.state is not None:
            self.model.method.state.begin_epoch(self._epoch)

    def on_train_batch_end(self, batch, logs=None):
        self._blank(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._blank(logs)
        self.model.epochs.assign(self._epoch + 1)

    def _blank(self, logs):
        if not self._attacking:
            for name in logs:
                if name.startswith(ADVERSARIAL):
                    logs[name] = float("nan")

    def _ask(self, judge, monitor, epoch, logs=None):
        if self._attacking or not (monitor or "").startswith(ADVERSARIAL):
            judge(epoch, logs)


class Epochs(CountsEpochs, tf.keras.callbacks.Callback):
    """`CountsEpochs` among the callbacks of tf.keras."""

    judges = (tf.keras.callbacks.EarlyStopping, tf.keras.callbacks.ReduceLROnPlateau)


class AtEpochEnd(tf.keras.callbacks.Callback):
    """Calls `action(epoch, logs)` after every epoch; what it adds to `logs` the later ones see."""

    def __init__(self, action):
        super().__init__()
        self._action = action

    def on_epoch_end(self, epoch, logs=None):
        self._action(epoch, logs)


class SaveState(tf.keras.callbacks.Callback):
    """Saves the training state at the end of every epoch."""

    def __init__(self, checkpoints, folder):
        super().__init__()
        self._checkpoints = checkpoints
        self._folder = folder

    def on_epoch_end(self, epoch, logs=None):
        with self._folder.writing("a checkpoint"):
            self._checkpoints.save(int(self.model.global_step.numpy()))


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
        self._interruption.check()
