"""Training while it goes on: a bar an epoch on a terminal, lines elsewhere, and what is left.

with TrainingBar(total_epochs=30, total_steps=660) as bar:
    model.fit(..., callbacks=[callbacks.Throughput(batch_size), bar])
"""

import functools
import math
import sys
import threading
import time

import tensorflow as tf

from sat_tf.runs.telling import cost
from sat_tf.runs.telling.heartbeat import QUIET_SECONDS, Heartbeat
from sat_tf.runs.telling.words import duration, rate

_SHOWN = ("loss", "clean_accuracy", "adversarial_accuracy", "images_per_second")


class TrainingBar(tf.keras.callbacks.Callback):
    """Loss, accuracies in per cent, rate, and the time that is left of the epoch and of training.

    Within an epoch a terminal has a bar, and anything else a line every `QUIET_SECONDS`; at the end
    of an epoch both get a line.  What is left is what the steps so far took a step, with all that
    is done between them, the first step of the process aside, which is traced.  A context manager,
    to be left after `fit`, whatever that has ended with.

    Args:
      total_epochs: the last epoch's number.
      total_steps: the length of training, in steps.
      stream: where; None means standard output.
      work_left: step -> what is left from there on, in any unit, where steps differ; None where
        they do not.
    """

    def __init__(self, total_epochs: int, total_steps: int, stream=None, work_left=None):
        super().__init__()
        self._work_left = work_left or (lambda step: total_steps - step)
        self._stream = stream or sys.stdout
        self._epochs, self._length = total_epochs, total_steps
        self._lock = threading.Lock()
        self._heartbeat = Heartbeat(self._beat)
        self._running = False
        self._measured = None  # (time, step) of the end of the first step

    @classmethod
    def of(cls, config) -> "TrainingBar":
        """Returns that of the training which a Config describes."""
        settings = config.optimizer
        return cls(
            -(-settings.train_steps // settings.steps_per_epoch),
            settings.train_steps,
            work_left=functools.partial(cost.training_passes, config),
        )

    def __enter__(self):
        self._heartbeat.__enter__()
        return self

    def __exit__(self, *unused):
        self._heartbeat.__exit__()

    def on_epoch_begin(self, epoch, logs=None):
        with self._lock:
            self._epoch, self._steps = epoch, self.params["steps"]
            self._done, self._logs = 0, {}
            # Read once an epoch: by the thread, or each step of a TPU, it would cost.
            self._first = int(self.model.global_step.numpy())
            self._shown = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        with self._lock:
            self._running = True
            self._done, self._logs = batch + 1, dict(logs or {})
            self._ended = time.monotonic()
            if self._measured is None:
                self._measured = self._ended, self._step
            if self._stream.isatty() and self._ended - self._shown > 0.1:
                self._draw()

    def on_epoch_end(self, epoch, logs=None):
        with self._lock:
            self._running = False
            start = "\r\033[K" if self._stream.isatty() else ""
            left = self._left_of(self._length - self._step)
            self._write(f"{start}epoch {epoch + 1}/{self._epochs}  {_line(logs)}{left}\n")

    def seconds_per_step(self) -> float | None:
        """Returns the mean since the first step, None before there is any."""
        if self._measured is None:
            return None
        since, step = self._measured
        steps = self._step - step
        return (time.monotonic() - since) / steps if steps > 0 else None

    def ending(self, saving_seconds: float | None) -> str:
        """Returns what is done before the process ends on a signal, and how long it takes.

        Args:
          saving_seconds: what the last save took, None where there was none.
        """
        step = self.seconds_per_step()
        said = "saving after the step under way"
        if step:
            said += f", which takes {duration(step)}"
        if saving_seconds is not None:
            said += f"; the last state was saved in {duration(saving_seconds)}"
        return said

    @property
    def _step(self):
        return self._first + self._done

    def _beat(self):
        with self._lock:
            silent = time.monotonic() - self._shown if self._running else 0
            if silent >= (1 if self._stream.isatty() else QUIET_SECONDS):
                self._draw()

    def _draw(self):
        self._shown = time.monotonic()
        place = f"{self._done}/{self._steps}"
        if self._stream.isatty():
            bar = "=" * (20 * self._done // self._steps)
            place = f"[{bar:20}] {place}"
        text = f"epoch {self._epoch + 1}/{self._epochs} {place}  {_line(self._logs)}{self._left()}"
        waited = self._shown - self._ended
        if waited >= 10:
            text += f"  ({duration(waited)} since the last step)"
        self._write(f"\r\033[K{text}" if self._stream.isatty() else f"{text}\n")

    def _left(self):
        """Returns what is left of the epoch, and of training where that is another time."""
        of_epoch = self._steps - self._done
        of_training = self._length - self._step
        if of_training <= of_epoch:
            return self._left_of(of_training)
        return self._left_of(of_epoch, " of the epoch") + self._left_of(of_training)

    def _left_of(self, steps, of=""):
        """Returns the time of so many steps from now, by what the work until now has taken."""
        if self._measured is None or steps <= 0:
            return ""
        since, step = self._measured
        done = self._work_left(step) - self._work_left(self._step)
        if done <= 0:
            return ""
        work = self._work_left(self._step) - self._work_left(self._step + steps)
        return f"  {duration((time.monotonic() - since) / done * work)} left{of}"

    def _write(self, text):
        self._shown = time.monotonic()
        self._stream.write(text)
        self._stream.flush()


def _line(logs):
    parts = []
    for name in _SHOWN:
        value = logs.get(name, math.nan)
        if not math.isnan(value):
            label = name.replace("_", " ").replace("images per second", "images/s")
            parts.append(
                f"{label} {100 * value:.1f} %"
                if name.endswith("accuracy")
                else f"{label} {rate(value)}"
                if "per_second" in name
                else f"{label} {value:.4f}"
            )
    return "  ".join(parts)
