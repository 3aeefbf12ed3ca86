"""The functions behind the activations, with their slopes.

    outputs = elementwise.celu(inputs, 1.0)     # any floating-point tensor -> same shape and dtype

Most come as a value and a slope.  The slope is given in closed form because automatic
differentiation of the overflow-safe values is wrong or NaN at 0 and far out, and because only the
input then has to be kept for the backward pass.  Both are evaluated in float32 where the input is
float16 or bfloat16, and rounded once at the end.
"""

import math

import tensorflow as tf


def widen(x):
    """Returns x in float32 where it is float16 or bfloat16, else as it is."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def _with_slope(value, slope):
    """Joins value(x, ...) and its derivative slope(x, ...) into one differentiable function."""

    def function(x, *constants):
        @tf.custom_gradient
        def differentiable(x):
            def backward(upstream):
                return upstream * tf.cast(slope(widen(x), *constants), x.dtype)

            return tf.cast(value(widen(x), *constants), x.dtype), backward

        return differentiable(tf.convert_to_tensor(x))

    return function


def _parametric_softplus(x, alpha):
    """log(1 + exp(alpha x)) / alpha, Xie et al., 2020, section 4.1, arXiv 2006.14536."""
    return tf.nn.relu(x) + tf.math.log1p(tf.exp(-alpha * tf.abs(x))) / alpha


def _parametric_softplus_slope(x, alpha):
    return tf.sigmoid(alpha * x)


def _elu(x, alpha):
    """x above 0, alpha (exp(x) - 1) below, Clevert et al., 2016, arXiv 1511.07289.

    The slope jumps at 0 unless alpha is 1; there the side of positive x is taken.
    """
    return tf.nn.relu(x) + alpha * tf.math.expm1(tf.minimum(x, 0.0))


def _elu_slope(x, alpha):
    return tf.where(x >= 0, tf.ones_like(x), alpha * tf.exp(tf.minimum(x, 0.0)))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu(x):
    """A scaled elu, Klambauer et al., 2017, arXiv 1706.02515.  The slope jumps at 0."""
    return _SELU_SCALE * _elu(x, _SELU_ALPHA)


def _selu_slope(x):
    return _SELU_SCALE * _elu_slope(x, _SELU_ALPHA)


def _celu(x, alpha):
    """x above 0, alpha (exp(x / alpha) - 1) below, Barron, 2017, arXiv 1704.07483."""
    return tf.nn.relu(x) + alpha * tf.math.expm1(tf.minimum(x, 0.0) / alpha)


def _celu_slope(x, alpha):
    return tf.exp(tf.minimum(x, 0.0) / alpha)


_GELU_SCALE, _GELU_CUBIC = math.sqrt(2.0 / math.pi), 0.044715


def _gelu_tanh(x):
    # Beyond 10 the tangent is exactly +-1; clipping keeps the cube finite.
    x = tf.clip_by_value(x, -10.0, 10.0)
    return tf.tanh(_GELU_SCALE * (x + _GELU_CUBIC * x * x * x))


def _gelu(x):
    """The tanh form of x Phi(x), Hendrycks and Gimpel, 2016, section 2, arXiv 1606.08415."""
    return 0.5 * x * (1.0 + _gelu_tanh(x))


def _gelu_slope(x):
    tangent, x = _gelu_tanh(x), tf.clip_by_value(x, -10.0, 10.0)
    inner_slope = _GELU_SCALE * (1.0 + 3.0 * _GELU_CUBIC * x * x)
    return 0.5 * (1.0 + tangent) + 0.5 * x * (1.0 - tangent * tangent) * inner_slope


def _normal_cdf(x):
    return 0.5 * tf.math.erfc(-x * math.sqrt(0.5))


def _gelu_exact(x):
    """x Phi(x), Phi the standard normal distribution function, arXiv 1606.08415."""
    return x * _normal_cdf(x)


def _gelu_exact_slope(x):
    near = tf.clip_by_value(x, -20.0, 20.0)  # the density is 0 in float32 beyond
    return _normal_cdf(x) + near * tf.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi)


def _tanh_of_softplus(x):
    """As a quotient in exp(-|x|), which cannot overflow.

    In its own words, after a batch norm, TensorFlow 2.15 would fuse the two where oneDNN is on, and
    then stop: it has no such kernel.
    """
    small = tf.exp(-tf.abs(x))
    twice, square = 2.0 * small, small * small
    return tf.where(
        x >= 0,
        (1.0 + twice) / (1.0 + twice + 2.0 * square),
        (square + twice) / (square + twice + 2.0),
    )


def _mish(x):
    """x tanh(softplus(x)), Misra, 2019, arXiv 1908.08681."""
    return x * _tanh_of_softplus(x)


def _mish_slope(x):
    tangent = _tanh_of_softplus(x)
    return tangent + x * tf.sigmoid(x) * (1.0 - tangent * tangent)


def _tanh(x):
    """As a quotient that is exact near 0, and not TensorFlow's own for the same reason as above."""
    less_one = tf.math.expm1(-2.0 * tf.abs(x))
    return tf.sign(x) * -less_one / (2.0 + less_one)


def _tanh_slope(x):
    return 1.0 - tf.square(tf.tanh(x))


def _softsign(x):
    """x / (1 + |x|), Glorot and Bengio, 2010, https://proceedings.mlr.press/v9/glorot10a.html."""
    return x / (1.0 + tf.abs(x))


def _softsign_slope(x):
    return 1.0 / tf.square(1.0 + tf.abs(x))


def _hard_sigmoid(x):
    """0.2 x + 0.5 clipped to [0, 1], as Keras 2 has it, Courbariaux et al., arXiv 1511.00363."""
    return tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)


def _hard_sigmoid_slope(x):
    return tf.where(tf.abs(x) < 2.5, 0.2 * tf.ones_like(x), tf.zeros_like(x))


def _scaled_relu(x, alpha):
    """Returns alpha * relu(x), kept finite: log1p of an infinity would make NaNs."""
    return tf.minimum(alpha * tf.nn.relu(x), x.dtype.max)


@tf.custom_gradient
def smoothrelu(x, alpha):
    """x - log(alpha x + 1) / alpha above 0 and exactly 0 below.

    Args:
      x: floating-point tensor.
      alpha: float32 [1], above 0; the larger, the closer to relu.
    Returns: like x; gradients flow to both arguments.
    Reference: Xie et al., 2020, section 4.1, https://arxiv.org/abs/2006.14536.
    """
    positive = tf.nn.relu(widen(x))
    alpha = tf.cast(alpha, positive.dtype)
    # Rounding can leave the difference just below 0 for tiny inputs; the function never is.
    value = tf.nn.relu(positive - tf.math.log1p(_scaled_relu(positive, alpha)) / alpha)

    def backward(upstream):
        scaled = _scaled_relu(widen(x), alpha)
        slope = scaled / (1.0 + scaled)
        alpha_slope = (tf.math.log1p(scaled) - slope) / tf.square(alpha)
        total = tf.reduce_sum(widen(upstream) * alpha_slope)
        return upstream * tf.cast(slope, x.dtype), tf.reshape(total, [1])

    return tf.cast(value, x.dtype), backward


parametric_softplus = _with_slope(_parametric_softplus, _parametric_softplus_slope)
elu = _with_slope(_elu, _elu_slope)
selu = _with_slope(_selu, _selu_slope)
celu = _with_slope(_celu, _celu_slope)
gelu = _with_slope(_gelu, _gelu_slope)
gelu_exact = _with_slope(_gelu_exact, _gelu_exact_slope)
mish = _with_slope(_mish, _mish_slope)
softsign = _with_slope(_softsign, _softsign_slope)
tanh = _with_slope(_tanh, _tanh_slope)
hard_sigmoid = _with_slope(_hard_sigmoid, _hard_sigmoid_slope)
