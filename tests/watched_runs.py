"""Watched runs from the command line, on a network small enough to make many of them."""

import command_line
import numpy as np
import tensorflow as tf

from sat_tf import evaluation
from sat_tf.interruption import Interrupted
from sat_tf.runs.training_measurement import TrainingMeasurement
from sat_tf.training import callbacks

SHORT = (
    "--train_examples=72",
    "--batch_size=16",
    "--num_steps=1",
    "--eval_examples=20",
    "--eval_batch_size=16",
    "--eval_attacks=clean,fgsm",
    "--clean_epochs=0",
)


def network(config, seed):
    del config, seed
    inputs = tf.keras.Input((8, 8, 3))
    features = tf.keras.layers.Conv2D(
        8, 3, strides=2, kernel_initializer=tf.keras.initializers.GlorotUniform(1)
    )(inputs)
    features = tf.keras.layers.BatchNormalization(synchronized=True)(features)
    features = tf.keras.layers.Flatten()(tf.keras.layers.Activation("swish")(features))
    return tf.keras.Model(
        inputs,
        tf.keras.layers.Dense(10, kernel_initializer=tf.keras.initializers.GlorotUniform(2))(
            features
        ),
    )


def run(folder, *arguments):
    return command_line.run(*SHORT, f"--model_dir={folder}", *arguments)


def assert_same(one, other, but=()):
    assert set(one) == set(other)
    for name, value in one.items():
        if name.split("/")[:2][-1] not in but:
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def interrupt_at(monkeypatch, *steps):
    """A signal seems to have come at the end of those steps, once each."""
    left = list(steps)

    def check(self, batch, logs=None):
        if int(self.model.global_step.numpy()) in left:
            left.remove(int(self.model.global_step.numpy()))
            raise Interrupted(2)

    monkeypatch.setattr(callbacks.CheckInterruption, "on_train_batch_end", check)


def held_out(monkeypatch, *robust):
    """The lower of the measured numbers of robust examples, of ten, one an epoch.

    The other is that of the exact derivative, which is always high.
    """
    left = list(robust)
    monkeypatch.setattr(
        TrainingMeasurement,
        "held_out",
        lambda self, on_batch: _result(
            {"clean": 10, "pgd-10": 9, "pgd-10:softplus": left.pop(0)}, examples=10
        ),
    )


def _result(correct, examples):
    outcomes = {}
    for name, count in correct.items():
        numbers = np.zeros(examples, np.int32)
        broken = np.arange(examples) >= count
        outcomes[name] = evaluation.Outcome(
            np.ones(examples, bool), broken, np.float32(broken), numbers, numbers, seconds=0.0
        )
    return evaluation.Result(examples, correct, outcomes)


def first_batch(monkeypatch, *accuracies):
    left = list(accuracies)
    monkeypatch.setattr(TrainingMeasurement, "first_batch", lambda self: left.pop(0))
