"""Smooth and learnable activations, one row of `ACTIVATIONS` each.

    from sat_tf import activations
    make_activation = activations.create("parametric_softplus", alpha=10.0)
    features = make_activation(name="conv0_activation")(features)

An activation is a factory: every call makes a new layer, so a learnable one has its own weights
at each place.  The layers carry their table name as `activation_name`.

Most functions below come as a value and a slope.  The slope is given in closed form because
automatic differentiation of the overflow-safe values is wrong or NaN at 0 and far out, and because
only the input then has to be kept for the backward pass.  Both are evaluated in float32 where the
input is float16 or bfloat16, and rounded once at the end.
"""

import functools
import math
from typing import Callable, NamedTuple, Optional, Tuple

import tensorflow as tf

from sat_tf import sparta
from sat_tf.errors import look_up

Activation = Callable[..., tf.keras.layers.Layer]  # called as factory(name="conv0_activation")


def _widen(x):
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x


def _with_slope(value, slope):
    """Joins value(x, ...) and its derivative slope(x, ...) into one differentiable function."""

    def function(x, *constants):
        @tf.custom_gradient
        def differentiable(x):
            def backward(upstream):
                return upstream * tf.cast(slope(_widen(x), *constants), x.dtype)
            return tf.cast(value(_widen(x), *constants), x.dtype), backward
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


def _mish(x):
    """x tanh(softplus(x)), Misra, 2019, arXiv 1908.08681."""
    return x * tf.tanh(tf.nn.softplus(x))


def _mish_slope(x):
    tangent = tf.tanh(tf.nn.softplus(x))
    return tangent + x * tf.sigmoid(x) * (1.0 - tangent * tangent)


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
    positive = tf.nn.relu(_widen(x))
    alpha = tf.cast(alpha, positive.dtype)
    # Rounding can leave the difference just below 0 for tiny inputs; the function never is.
    value = tf.nn.relu(positive - tf.math.log1p(_scaled_relu(positive, alpha)) / alpha)

    def backward(upstream):
        scaled = _scaled_relu(_widen(x), alpha)
        slope = scaled / (1.0 + scaled)
        alpha_slope = (tf.math.log1p(scaled) - slope) / tf.square(alpha)
        total = tf.reduce_sum(_widen(upstream) * alpha_slope)
        return upstream * tf.cast(slope, x.dtype), tf.reshape(total, [1])

    return tf.cast(value, x.dtype), backward


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class ElementwiseActivation(tf.keras.layers.Layer):
    """A row of `ACTIVATIONS` without weights.  Any floating-point tensor -> same shape and dtype."""

    def __init__(self, activation_name, alpha=None, **kwargs):
        super().__init__(**kwargs)
        self.activation_name, self.alpha = activation_name, alpha

    def call(self, inputs):
        function = ACTIVATIONS[self.activation_name].function
        return function(inputs) if self.alpha is None else function(inputs, self.alpha)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "activation_name": self.activation_name, "alpha": self.alpha}


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class SmoothReLU(tf.keras.layers.Layer):
    """`smoothrelu` with one learned scalar a layer, shared by all channels.

    The weight `raw_alpha`, shape [1], holds the square root of alpha, as in the original release
    (20.0, so alpha starts at 400).  It stays float32 under every precision policy, because 400
    times a feature overflows float16.
    """

    def __init__(self, activation_name="smoothrelu", alpha=400.0, **kwargs):
        super().__init__(**kwargs)
        self.activation_name, self.alpha = activation_name, alpha

    def build(self, input_shape):
        self.raw_alpha = self.add_weight(
            name="raw_alpha", shape=[1], dtype=tf.float32, experimental_autocast=False,
            initializer=tf.keras.initializers.Constant(math.sqrt(self.alpha)))
        super().build(input_shape)

    def call(self, inputs):
        return smoothrelu(inputs, tf.square(self.raw_alpha))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "activation_name": self.activation_name, "alpha": self.alpha}


class Row(NamedTuple):
    """How to make an activation.

    `alpha` is the default of those that have such a constant; `options` names the further
    arguments of the layer that a caller may choose, which its `check_options` judges.
    """
    function: Callable
    alpha: Optional[float] = None
    layer: Callable = ElementwiseActivation
    options: Tuple[str, ...] = ()


# TensorFlow's own kernels are used where they are safe and precise in every precision (those of elu
# and selu round exp(x) before they subtract 1).  The paper does not print the alpha of parametric
# softplus; 10 is read off its plot.
ACTIVATIONS = {
    "relu": Row(tf.nn.relu),
    "relu6": Row(tf.nn.relu6),
    "softplus": Row(tf.nn.softplus),
    "parametric_softplus": Row(
        _with_slope(_parametric_softplus, _parametric_softplus_slope), alpha=10.0),
    "swish": Row(tf.nn.silu),  # Ramachandran et al., 2017, arXiv 1710.05941
    "silu": Row(tf.nn.silu),
    "gelu": Row(_with_slope(_gelu, _gelu_slope)),
    "gelu_exact": Row(_with_slope(_gelu_exact, _gelu_exact_slope)),
    "elu": Row(_with_slope(_elu, _elu_slope), alpha=1.0),
    "celu": Row(_with_slope(_celu, _celu_slope), alpha=1.0),
    "selu": Row(_with_slope(_selu, _selu_slope)),
    "mish": Row(_with_slope(_mish, _mish_slope)),
    "smoothrelu": Row(smoothrelu, alpha=400.0, layer=SmoothReLU),
    "sparta": Row(sparta.sparta, layer=sparta.Sparta,  # our reading of arXiv 2105.08269
                  options=("kernel_size", "shared", "gain")),
    "softsign": Row(_with_slope(_softsign, _softsign_slope)),
    "tanh": Row(tf.nn.tanh),
    "sigmoid": Row(tf.nn.sigmoid),
    "hard_sigmoid": Row(_with_slope(_hard_sigmoid, _hard_sigmoid_slope)),
}


def is_learnt(name: str) -> bool:
    """Whether the layers of the row `name` have weights."""
    return look_up(ACTIVATIONS, "activation", name).layer is not ElementwiseActivation


def create(name: str, alpha: Optional[float] = None, **options) -> Activation:
    """Returns the factory of an activation's layers.

    Args:
      name: a row of `ACTIVATIONS`.
      alpha: the constant of parametric_softplus, elu and celu, or the initial one of smoothrelu;
        above 0, None for the default.
      **options: kernel_size, shared and gain of sparta, see `sat_tf.sparta.Sparta`.
    Raises: ValueError for an unknown name, for an alpha that is not positive, and for an alpha or
      an option that the activation does not have.
    """
    row = look_up(ACTIVATIONS, "activation", name)
    if alpha is not None and row.alpha is None:
        takers = ", ".join(sorted(n for n, r in ACTIVATIONS.items() if r.alpha is not None))
        raise ValueError(f"{name} has no alpha, only {takers} do")
    if alpha is not None and not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}: give a number above 0")
    for option in options:
        if option not in row.options:
            takers = [n for n, r in ACTIVATIONS.items() if option in r.options]
            raise ValueError(f"{name} has no {option}" + (
                f", only {', '.join(takers)} does" if takers else ""))
    if options:
        row.layer.check_options(**options)
    if row.alpha is not None:
        options["alpha"] = row.alpha if alpha is None else float(alpha)
    return functools.partial(row.layer, activation_name=name, **options)
