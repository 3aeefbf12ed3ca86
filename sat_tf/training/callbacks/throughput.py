"""How fast training goes."""

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
