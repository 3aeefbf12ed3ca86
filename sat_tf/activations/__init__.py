"""Smooth and learnable activations, one row of `ACTIVATIONS` each.

    from sat_tf import activations
    make_activation = activations.create("parametric_softplus", alpha=10.0)
    features = make_activation(name="conv0_activation")(features)

An activation is a factory: every call makes a new layer, so a learnable one has its own weights
at each place.  The layers carry their table name as `activation_name`.

    with activations.derivative_of("parametric_softplus"):  # in the gradient; values stay
        logits = classifier(images)
"""

import contextlib
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from sat_tf.activations import derivatives, elementwise, objects, sparta
from sat_tf.activations.derivatives import ActivationLayer
from sat_tf.errors import add, look_up

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "ActivationLayer",
    "ElementwiseActivation",
    "Row",
    "SmoothReLU",
    "check_derivative",
    "create",
    "derivative_of",
    "differentiated_as",
    "is_learnt",
    "is_smooth",
    "register",
]

Activation = Callable[..., tf.keras.layers.Layer]  # called as factory(name="conv0_activation")


class _WithAlpha(ActivationLayer):
    """An activation that has a constant, which is None for those without."""

    def __init__(self, activation_name, alpha=None, **kwargs):
        super().__init__(activation_name, **kwargs)
        self.alpha = alpha

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class ElementwiseActivation(_WithAlpha):
    """A row of `ACTIVATIONS` without weights."""

    def value(self, inputs: tf.Tensor) -> tf.Tensor:
        function = ACTIVATIONS[self.activation_name].function
        return function(inputs) if self.alpha is None else function(inputs, self.alpha)


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class SmoothReLU(_WithAlpha):
    """`smoothrelu` with one learned scalar a layer, shared by all channels.

    The weight `raw_alpha`, shape [1], holds the square root of alpha, as in the original release
    (20.0, so alpha starts at 400).  It stays float32 under every precision policy, because 400
    times a feature overflows float16.
    """

    def __init__(self, activation_name: str = "smoothrelu", alpha: float = 400.0, **kwargs):
        super().__init__(activation_name, alpha, **kwargs)

    def build(self, input_shape: tf.TensorShape) -> None:
        self.raw_alpha = self.add_weight(
            name="raw_alpha",
            shape=[1],
            dtype=tf.float32,
            experimental_autocast=False,
            initializer=tf.keras.initializers.Constant(math.sqrt(self.alpha)),
        )
        super().build(input_shape)

    def value(self, inputs: tf.Tensor) -> tf.Tensor:
        return elementwise.smoothrelu(inputs, tf.square(self.raw_alpha))


class Row(NamedTuple):
    """How to make an activation.

    `alpha` is the default of those that have such a constant; `is_smooth` tells from it whether the
    slope is free of jumps; `options` names the further arguments of the layer that a caller may
    choose, which its `check_options` judges.
    """

    function: Callable
    alpha: float | None = None
    layer: Callable = ElementwiseActivation
    is_smooth: Callable = lambda alpha: True
    options: tuple[str, ...] = ()


def _never(alpha):
    return False


# TensorFlow's own kernels are used where they are safe and precise in every precision (those of elu
# and selu round exp(x) before they subtract 1).  The paper does not print the alpha of parametric
# softplus; 10 is read off its plot.
ACTIVATIONS = {
    "relu": Row(tf.nn.relu, is_smooth=_never),
    "relu6": Row(tf.nn.relu6, is_smooth=_never),
    "softplus": Row(tf.nn.softplus),
    "parametric_softplus": Row(elementwise.parametric_softplus, alpha=10.0),
    "swish": Row(tf.nn.silu),  # Ramachandran et al., 2017, arXiv 1710.05941
    "silu": Row(tf.nn.silu),
    "gelu": Row(elementwise.gelu),
    "gelu_exact": Row(elementwise.gelu_exact),
    "elu": Row(elementwise.elu, alpha=1.0, is_smooth=lambda alpha: alpha == 1),
    "celu": Row(elementwise.celu, alpha=1.0),
    "selu": Row(elementwise.selu, is_smooth=_never),
    "mish": Row(elementwise.mish),
    "smoothrelu": Row(elementwise.smoothrelu, alpha=400.0, layer=SmoothReLU),
    "sparta": Row(
        sparta.sparta,
        layer=sparta.Sparta,  # our reading of arXiv 2105.08269
        options=("kernel_size", "shared", "gain"),
    ),
    "softsign": Row(elementwise.softsign),
    "tanh": Row(elementwise.tanh),
    "sigmoid": Row(tf.nn.sigmoid),
    "hard_sigmoid": Row(elementwise.hard_sigmoid, is_smooth=_never),
}


def is_learnt(name: str) -> bool:
    """Whether the layers of the row `name` have weights."""
    return look_up(ACTIVATIONS, "activation", name).layer is not ElementwiseActivation


def register(name: str, activation: Row | Callable) -> None:
    """Adds a row to `ACTIVATIONS`, so that its name stands wherever those of our own do.

    Args:
      name: that no row has.
      activation: a `Row`; or as `create` takes it, a function of a tensor or a layer class.
    Raises: ValueError for a name that is taken, and for what is no activation.
    """
    if not isinstance(activation, Row):
        factory = objects.factory_of(activation)
        is_function = factory.func is objects.FunctionActivation
        activation = Row(activation) if is_function else Row(activation, layer=factory)
    add(ACTIVATIONS, "activation", name, activation)


def create(name: str | Callable, alpha: float | None = None, **options) -> Activation:
    """Returns the factory of an activation's layers.

    Args:
      name: a row of `ACTIVATIONS`; or somebody else's function of a tensor, layer class, or
        function that makes a layer of a name, which has neither alpha nor options.
      alpha: the constant of parametric_softplus, elu and celu, or the initial one of smoothrelu;
        above 0, None for the default.
      **options: kernel_size, shared and gain of sparta, see `sat_tf.activations.sparta.Sparta`.
    Raises: ValueError for an unknown name, for an alpha that is not positive, and for an alpha or
      an option that the activation does not have.
    """
    if not isinstance(name, str):
        if alpha is not None or options:
            raise ValueError(
                f"activation {objects.name_of(name)!r} is given as it is: leave out alpha and "
                "options, or put them into it"
            )
        return objects.factory_of(name)
    row = look_up(ACTIVATIONS, "activation", name)
    if alpha is not None and row.alpha is None:
        takers = ", ".join(sorted(n for n, r in ACTIVATIONS.items() if r.alpha is not None))
        raise ValueError(f"{name} has no alpha, only {takers} do")
    if alpha is not None and not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}: give a number above 0")
    for option in options:
        if option not in row.options:
            takers = [n for n, r in ACTIVATIONS.items() if option in r.options]
            raise ValueError(
                f"{name} has no {option}" + (f", only {', '.join(takers)} does" if takers else "")
            )
    if options:
        row.layer.check_options(**options)
    if row.alpha is not None:
        options["alpha"] = row.alpha if alpha is None else float(alpha)
    return functools.partial(row.layer, activation_name=name, **options)


def is_smooth(name: str, alpha: float | None = None) -> bool:
    """Whether the slope is continuous; the arguments are those of `create`."""
    row = look_up(ACTIVATIONS, "activation", name)
    return row.is_smooth(row.alpha if alpha is None else alpha)


def check_derivative(name: str) -> None:
    """Raises ValueError unless the default derivative of the row `name` depends on x alone."""
    if look_up(ACTIVATIONS, "activation", name).layer not in (ElementwiseActivation, SmoothReLU):
        raise ValueError(
            f"the derivative of {name} depends on learnt weights; name an activation "
            "without, such as parametric_softplus"
        )


def derivative_of(name: str | None) -> contextlib.AbstractContextManager:
    """Returns a context in which all activations differentiate as the row `name` does.

    Only the derivative with respect to the inputs changes, to that of `name` with its default
    alpha: values stay bit for bit, and a learnable activation learns by its exact gradient.  See
    `derivatives` for when and where the context is read; within nested ones the innermost counts.
    None changes nothing.
    Raises: ValueError for a name that `check_derivative` refuses.
    Reference: Xie et al., 2020, table 1 of https://arxiv.org/abs/2006.14536v1.
    """
    if name is None:
        return contextlib.nullcontext()
    check_derivative(name)
    return derivatives.replaced_by(functools.partial(_slope, ACTIVATIONS[name]))


def differentiated_as(name: str | None, logits_fn: Callable) -> Callable:
    """Returns `logits_fn` within `derivative_of(name)`, which it enters itself, at each call.

    So it holds wherever the function is called: replicas are traced in threads of their own.
    """

    def function(images):
        with derivative_of(name):
            return logits_fn(images)

    return function


def _slope(row, inputs):
    """Returns the derivative of a row's function at `inputs`, rounded once to their dtype."""
    x = elementwise.widen(inputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        # In a graph the values themselves are pruned wherever the slope does not need them.
        outputs = row.function(x) if row.alpha is None else row.function(x, row.alpha)
    return tf.cast(tape.gradient(outputs, x), inputs.dtype)
