"""Any classifier as a function from images to logits: what `evaluate` measures.

with evaluated_weights(model):
    logits_fn, num_classes = classifier_of(model, images)     # inference mode; refused by name
"""

import contextlib
import functools
import inspect
import sys

import tensorflow as tf

from sat_tf import attacks
from sat_tf.errors import UserError, one_line

_NAME = "model_or_function"


def evaluated_weights(model):
    """Returns a context in which `model` has the weights to evaluate, averaged ones if it has."""
    enter = getattr(model, "evaluated_weights", None)
    return contextlib.nullcontext() if enter is None else enter()


def classifier_of(model, images):
    """Returns logits_fn, and the number of its logits.

    Args:
      model: a Keras model, of Keras 2 or of Keras 3 on TensorFlow, which is run in inference mode;
        an object with `evaluated_weights` and `logits`, as AdversarialModel; or any function from
        images to logits in TensorFlow operations.
      images: float32 [batch, height, width, channels], to trace it with; it runs on them only
        where its graph does not tell the number of classes.
    Returns: float32 [batch, height, width, channels] -> floating [batch, num_classes]; integer.
    Raises: UserError for what is no function, has no weights yet, cannot be run on such images, or
      returns anything but one tensor of logits, [batch, 2 or more].
    """
    logits_fn = _function_of(model)

    @functools.partial(tf.function, autograph=False)
    def traced(images):
        return attacks.checked_logits(logits_fn(images), images, _NAME)

    spec = tf.TensorSpec(images.shape, tf.float32)
    try:
        num_classes = traced.get_concrete_function(spec).output_shapes[-1]
        if num_classes is None:
            num_classes = traced(tf.constant(images)).shape[-1]
            logits_fn = _of_static_classes(logits_fn, num_classes)
    except UserError:
        raise
    # What a function of somebody else's raises on a symbolic tensor is not foreseeable.
    except (ValueError, TypeError, AttributeError, NotImplementedError, tf.errors.OpError) as error:
        raise UserError(
            f"{_NAME}: cannot be run on images {tuple(images.shape)} in a TensorFlow graph: "
            f"{one_line(error)}"
        ) from error
    return logits_fn, num_classes


def _function_of(model):
    if hasattr(model, "evaluated_weights") and hasattr(model, "logits"):
        return model.logits
    # Where Keras 3 is installed beside the Keras 2 of tf.keras, models of both come along.
    others = [sys.modules[name] for name in ("keras", "tf_keras") if name in sys.modules]
    layers = tuple(module.layers.Layer for module in (tf.keras, *others))
    if isinstance(model, layers):
        if not model.built:
            raise UserError(
                f"{_NAME}: {model.name!r} has no weights yet; build and train it, or load its "
                "weights, first"
            )
        parameters = inspect.signature(model.call).parameters.values()
        if any(one.name == "training" or one.kind is one.VAR_KEYWORD for one in parameters):
            return lambda images: model(images, training=False)
        return model
    if not callable(model):
        within = next((name for name in ("logits_fn", "logits") if hasattr(model, name)), None)
        remedy = (
            f"its `{within}`"
            if within
            else "a Keras model or a function from images to logits, as "
            "sat_tf.saved_models.load(path).logits_fn is of a SavedModel"
        )
        shown = repr(model) if isinstance(model, str) else f"a {type(model).__name__}"
        raise UserError(f"{_NAME}: {shown} is no function; give {remedy}")
    return model


def _of_static_classes(logits_fn, num_classes):
    return lambda images: tf.ensure_shape(logits_fn(images), [None, num_classes])
