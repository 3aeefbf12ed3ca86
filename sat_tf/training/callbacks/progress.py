"""What is seen of training while it goes on: its rate, and the bar or the lines."""

import math
import sys
import time

import tensorflow as tf


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
