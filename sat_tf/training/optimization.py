"""Learning-rate schedules, optimizers and weight decay.

schedule = Schedule("step", learning_rate=0.1, total_steps=1000, steps_per_epoch=10)
optimizer = create_optimizer("sgd", schedule)
"""

import functools
import math
from collections.abc import Iterable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.errors import look_up

# After which shares of training the schedules with sudden drops have them: the release's epochs
# 30, 60, 90 of 100, and epochs 100 and 105 of 110.
_DROPS = {"step": (0.3, 0.6, 0.9), "late_step": (100 / 110, 105 / 110)}


def _dropping(step, *, total_steps, drops, **unused):
    """A tenth more after each of the shares `drops` of training.

    `late_step` has epochs 100 and 105 of 110, as adversarial training on CIFAR often does: training
    on at a low rate overfits what robustness there is, so there is little of it (Rice et al., 2020,
    https://arxiv.org/abs/2002.11569).
    """
    passed = [tf.cast(step >= share * total_steps, tf.float32) for share in drops]
    return 0.1 ** tf.add_n(passed)


def _exponential(step, *, steps_per_epoch, **unused):
    """0.97 every 2.4 epochs, in stairs: the release's EfficientNet schedule."""
    return 0.97 ** tf.floor(step / (2.4 * steps_per_epoch))


def _cosine(step, *, total_steps, warmup_steps, **unused):
    """Half a cosine from the end of the warm-up to zero (Loshchilov and Hutter, 2017)."""
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return 0.5 * (1.0 + tf.cos(math.pi * tf.clip_by_value(progress, 0.0, 1.0)))


def _triangular(step, *, total_steps, **unused):
    """Linearly up to the middle of training and down again (Fast AT; Wong et al., 2020)."""
    return tf.maximum(1.0 - tf.abs(2.0 * step / total_steps - 1.0), 0.0)


def _constant(step, **unused):
    """Always the full rate."""
    return tf.ones_like(step)


SCHEDULES = {
    "constant": _constant,
    "step": _dropping,
    "late_step": _dropping,
    "exponential": _exponential,
    "cosine": _cosine,
    "triangular": _triangular,
}


def default_drops(schedule: str) -> tuple:
    """Returns the shares of training at which a row of SCHEDULES drops; () for the gradual ones."""
    return _DROPS.get(schedule, ())


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A row of SCHEDULES times `learning_rate`, after a linear warm-up.

    Args:
      name: a key of SCHEDULES; ValueError lists them.
      learning_rate: the full rate.
      total_steps: length of training in optimizer steps.
      steps_per_epoch: for schedules that count in epochs.
      drops: shares of training, in (0, 1), after which `step` and `late_step` drop to a tenth; None
        for their own.
      warmup_steps: steps of linear rise from `warmup_learning_rate` to `learning_rate`.
    Called with a step, it returns a float32 scalar.
    """

    def __init__(
        self,
        name: str,
        *,
        learning_rate: float,
        total_steps: int,
        steps_per_epoch: int,
        drops: Iterable[float] | None = None,
        warmup_steps: int = 0,
        warmup_learning_rate: float = 0.0,
    ):
        self._factor = look_up(SCHEDULES, "schedule", name)
        self._config = dict(
            name=name,
            learning_rate=learning_rate,
            total_steps=total_steps,
            steps_per_epoch=steps_per_epoch,
            drops=default_drops(name) if drops is None else tuple(drops),
            warmup_steps=warmup_steps,
            warmup_learning_rate=warmup_learning_rate,
        )

    def __call__(self, step: TensorLike) -> tf.Tensor:
        c = self._config
        step = tf.cast(step, tf.float32)
        rate = c["learning_rate"] * self._factor(
            step,
            total_steps=c["total_steps"],
            steps_per_epoch=c["steps_per_epoch"],
            drops=c["drops"],
            warmup_steps=c["warmup_steps"],
        )
        if not c["warmup_steps"]:
            return rate
        rise = (c["learning_rate"] - c["warmup_learning_rate"]) * step / c["warmup_steps"]
        return tf.where(step < c["warmup_steps"], c["warmup_learning_rate"] + rise, rate)

    def get_config(self) -> dict:
        return dict(self._config)


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class TF1RMSprop(tf.keras.optimizers.RMSprop):
    """RMSprop as TensorFlow 1 had it, which the release's EfficientNet recipe means.

    Keras' RMSprop already keeps epsilon inside the root and the rate inside the momentum buffer;
    what differs is that TensorFlow 1 starts the mean square at one, which keeps the first
    steps short, where Keras starts it at zero.
    """

    def add_variable_from_reference(
        self, model_variable, variable_name, shape=None, initial_value=None
    ):
        if variable_name == "velocity":
            initial_value = tf.ones_like(model_variable)
        return super().add_variable_from_reference(
            model_variable, variable_name, shape=shape, initial_value=initial_value
        )


OPTIMIZERS = {
    "sgd": functools.partial(tf.keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "rmsprop": functools.partial(TF1RMSprop, rho=0.9, momentum=0.9, epsilon=1e-3),
    "adam": tf.keras.optimizers.Adam,
}


def create_optimizer(name: str, learning_rate: float | Schedule) -> tf.keras.optimizers.Optimizer:
    """Returns a row of OPTIMIZERS; `learning_rate` is a number or a Schedule."""
    return look_up(OPTIMIZERS, "optimizer", name)(learning_rate=learning_rate)


def _last_part(variable):
    return variable.name.split("/")[-1].split(":")[0]


# Which variables decay: the release's ResNet names only kernels, its EfficientNet all but batch
# normalisation (so biases too).  A learnable activation's parameters are never decayed.
_OF_ACTIVATIONS = ("raw_alpha", "attention_taps", "attention_bias")
WEIGHT_DECAY_ON = {
    "kernels": lambda name: name.endswith("kernel"),
    "all_but_batch_norm": lambda name: name not in ("gamma", "beta", *_OF_ACTIVATIONS),
}


def decayed_variables(variables, on: str) -> list:
    """Returns those of `variables` that weight decay applies to; `on` is a WEIGHT_DECAY_ON key."""
    decays = look_up(WEIGHT_DECAY_ON, "weight_decay_on", on)
    return [v for v in variables if decays(_last_part(v))]


def weight_decay_loss(variables, weight_decay: float) -> tf.Tensor:
    """Returns weight_decay / 2 times the sum of squares, a float32 scalar, as the release adds it.

    The decay is a part of the loss, so it passes through momentum and RMS scaling; that is not
    the decoupled decay of AdamW.
    """
    if not weight_decay or not variables:
        return tf.constant(0.0)
    return weight_decay * tf.add_n([tf.nn.l2_loss(tf.cast(v, tf.float32)) for v in variables])
