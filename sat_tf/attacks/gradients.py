"""The gradient that white-box attacks follow, with respect to the images alone."""

from collections.abc import Callable

import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.attacks.arguments import logits_of


def loss_gradient(
    logits_fn: Callable,
    adversarial: TensorLike,
    labels: TensorLike,
    loss: Callable,
    loss_scale: float = 1.0,
) -> tf.Tensor:
    """Returns the gradient of the summed loss, so that every example has its own.

    It is `loss_scale` times as large; the arguments are those of `pgd`, checked.
    Raises: ValueError where `logits_fn` is not differentiable with respect to its images.
    """
    return _differentiated(logits_fn, adversarial, labels, loss, loss_scale)[-1]


def value_and_gradient(logits_fn, adversarial, labels, loss, loss_scale=1.0):
    """Returns (logits, loss, its gradient), the last without `loss_scale` in it.

    Args:
      logits_fn: float32 [batch, height, width, channels] -> floating [batch, num_classes].
      adversarial: float32 [batch, height, width, channels].
      labels: int32 [batch].
      loss: (logits, labels) -> float32 [batch].
      loss_scale: factor on the loss while it is differentiated, against underflow in float16
        models.
    Returns: float32 [batch, num_classes], float32 [batch] and float32, the shape of `adversarial`.
    Raises: as `loss_gradient`.
    """
    logits, values, gradient = _differentiated(logits_fn, adversarial, labels, loss, loss_scale)
    return logits, values, gradient / loss_scale


def _differentiated(logits_fn, adversarial, labels, loss, loss_scale):
    with tf.GradientTape(watch_accessed_variables=False) as tape:  # no weight gradients
        tape.watch(adversarial)
        logits = logits_of(logits_fn, adversarial)
        values = loss(logits, labels)
        total = loss_scale * tf.reduce_sum(values)
    gradient = tape.gradient(total, adversarial)
    if gradient is None:
        raise ValueError("logits_fn is not differentiable with respect to its images")
    return tf.cast(logits, tf.float32), values, gradient
