"""The derivative of one function in the place of another's, while the values stay as they are.

    with replaced_by(lambda inputs: tf.sigmoid(10.0 * inputs)):
        outputs = apply(tf.nn.relu, inputs)         # relu forward, the sigmoid backward

What stands in is read when `apply` runs, which inside a `tf.function` is when that is traced: a
function traced outside the context keeps the exact derivative inside of it, and the other way
round.  It holds for the thread that entered the context only, because the replicas of a strategy
are traced in threads of their own; so enter it in replica context.
"""

import contextlib
import threading

import tensorflow as tf


class _Replacement(threading.local):
    slope = None  # inputs -> derivative at them; None: the exact one


_replacement = _Replacement()


@contextlib.contextmanager
def replaced_by(slope):
    """Within this context, `apply` differentiates by `slope` in this thread.

    Args:
      slope: floating tensor -> the derivative at each of its elements, same shape and dtype.
    """
    outer, _replacement.slope = _replacement.slope, slope
    try:
        yield
    finally:
        _replacement.slope = outer


def apply(value, inputs):
    """Returns value(inputs), whose gradient follows the derivative that stands in, if any.

    The gradient with respect to whatever else `value` uses, such as weights, stays exact.

    Args:
      value: floating tensor -> same shape and dtype.
      inputs: floating tensor.
    """
    slope = _replacement.slope
    if slope is None:
        return value(inputs)

    @tf.custom_gradient
    def substituted(inputs, outputs):
        def backward(upstream):
            return upstream * slope(inputs), upstream

        return tf.identity(outputs), backward

    return substituted(inputs, value(tf.stop_gradient(inputs)))


class ActivationLayer(tf.keras.layers.Layer):
    """What all activations are as layers: any floating-point tensor -> same shape and dtype.

    A subclass has `value(inputs)`; its derivative is the one that stands in, where there is one.
    """

    def __init__(self, activation_name: str, **kwargs):
        super().__init__(**kwargs)
        self.activation_name = activation_name

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return apply(self.value, inputs)

    def compute_output_shape(self, input_shape: tf.TensorShape) -> tf.TensorShape:
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "activation_name": self.activation_name}
