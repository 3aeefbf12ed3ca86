"""What a network says of the iterates of a search, once or as a mean over several passes."""

from typing import NamedTuple

import tensorflow as tf

from sat_tf.attacks.gradients import value_and_gradient
from sat_tf.attacks.search import is_broken


class Evaluation(NamedTuple):
    """`broken` bool [batch], `loss` float32 [batch], `gradient` float32, the images' shape."""

    broken: tf.Tensor
    loss: tf.Tensor
    gradient: tf.Tensor


def evaluate(logits_fn, current, labels, loss, *, eot, loss_scale, targeted):
    """Returns the Evaluation of `current`, loss and gradient the means of `eot` passes.

    Args:
      logits_fn, labels, loss, loss_scale: as for `value_and_gradient`.
      current: float32 [batch, height, width, channels], the iterates.
      eot: passes, >= 1; the last one says what is broken.
      targeted: as for `search.is_broken`.
    """

    def once():
        logits, values, gradient = value_and_gradient(logits_fn, current, labels, loss, loss_scale)
        return Evaluation(
            is_broken(logits, labels, targeted),
            tf.ensure_shape(values, labels.shape),
            tf.ensure_shape(gradient, current.shape),
        )

    if eot == 1:
        return once()

    def body(number, total):
        broken, values, gradient = once()
        return number + 1, Evaluation(broken, total.loss + values, total.gradient + gradient)

    nothing = tf.zeros_like(labels, tf.float32)
    total = tf.while_loop(
        lambda number, total: number < eot,
        body,
        (tf.constant(0), Evaluation(nothing > 0, nothing, tf.zeros_like(current))),
        parallel_iterations=1,
        maximum_iterations=eot,
    )[1]
    return Evaluation(total.broken, total.loss / eot, total.gradient / eot)
