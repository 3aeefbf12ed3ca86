"""Which epoch begins, and so whether the attack has begun."""

import functools

import tensorflow as tf

from sat_tf.training.measures import ADVERSARIAL


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
