"""Somebody else's activation where a name of `ACTIVATIONS` may stand.

    make_activation = factory_of(tf.nn.leaky_relu)       # a function of a tensor
    make_activation = factory_of(tf.keras.layers.PReLU)  # a layer class, or any function of a name
    features = make_activation(name="conv0_activation")(features)

Every call makes a new layer, as for our own.
"""

import functools
import inspect

import tensorflow as tf

from sat_tf.activations.derivatives import ActivationLayer


@tf.keras.utils.register_keras_serializable(package="sat_tf")
class FunctionActivation(ActivationLayer):
    """A function of a tensor as a layer.

    Args:
      function: floating tensor -> same shape and dtype; to load a saved model it has to be known
        to Keras, as `register_keras_serializable` makes it.
    """

    def __init__(self, function, activation_name=None, **kwargs):
        super().__init__(activation_name or name_of(function), **kwargs)
        self.function = function

    def value(self, inputs):
        return self.function(inputs)

    def get_config(self):
        config = super().get_config()
        return {**config, "function": tf.keras.saving.serialize_keras_object(self.function)}

    @classmethod
    def from_config(cls, config):
        function = tf.keras.saving.deserialize_keras_object(config["function"])
        return cls(**{**config, "function": function})


def name_of(given) -> str:
    """Returns what to call an activation that was given as an object."""
    if isinstance(given, functools.partial):
        return name_of(given.func)
    return getattr(given, "__name__", type(given).__name__)


def factory_of(given):
    """Returns name -> layer of an activation that was given as an object.

    Args:
      given: a function of one tensor; or what makes a layer of a name: a layer class, or a
        callable that has to be given nothing but `name`.
    Raises: ValueError for a layer, which all places would share, and for what cannot be called.
    """
    if isinstance(given, tf.keras.layers.Layer):
        raise ValueError(
            f"activation {given.name!r} is a layer, which every place in the network would share: "
            "give its class, or a function that makes one"
        )
    if not callable(given):
        raise ValueError(
            f"activation={given!r}: give a name, a function of a tensor or a layer class"
        )
    if _makes_layers(given):
        return functools.partial(_made, given)
    return functools.partial(FunctionActivation, given)


def _makes_layers(given):
    if isinstance(given, type):
        return issubclass(given, tf.keras.layers.Layer)
    try:
        parameters = inspect.signature(given).parameters.values()
    except ValueError:  # built in
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return not any(
        one.kind in positional and one.default is one.empty and one.name != "name"
        for one in parameters
    )


def _made(given, activation_name=None, **kwargs):
    layer = given(**kwargs)
    if not isinstance(layer, tf.keras.layers.Layer):
        raise ValueError(
            f"activation {name_of(given)!r} made {layer!r}: it has to make a Keras layer of the "
            "name it is given"
        )
    layer.activation_name = activation_name or name_of(given)
    return layer
