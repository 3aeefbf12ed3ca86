"""What adversarial training needs to know of somebody else's classifier.

It is of tf.keras, which is Keras 2 here, or of Keras 3, where that is installed beside it.
"""

import sys

import numpy as np
import tensorflow as tf

from sat_tf import activations, attacks

_PROBED = 2  # images, whose outputs tell logits from probabilities
_ANY_SIZE = 96  # of these where the classifier takes every size


def is_keras_3(classifier) -> bool:
    """Whether it is a model of Keras 3, which is imported then."""
    keras = sys.modules.get("keras")
    is_another = keras is not None and getattr(keras, "Model", None) is not tf.keras.Model
    return is_another and isinstance(classifier, keras.Model)


def keras_of(classifier):
    """Returns the module of the Keras that a model is of."""
    return sys.modules["keras"] if is_keras_3(classifier) else tf.keras


def tf_variables(variables) -> list:
    """Returns the tf.Variables of a model's variables, which Keras 3 wraps in its own."""
    return [v if isinstance(v, tf.Variable) else v.value for v in variables]


def check(classifier, *, from_logits: bool, bounds=(0.0, 1.0)):
    """Refuses a classifier that cannot be trained, or that gives something else than it should.

    Where the classifier does not plainly end in a dense layer without activation, it is run on two
    random images: what comes out says whether it is logits.

    Args:
      classifier: a Keras model, of tf.keras or of Keras 3.
      from_logits: whether it is to give logits, not probabilities.
      bounds: lowest and highest valid pixel.
    Raises: ValueError for what is no Keras model, is not built, takes other than one tensor,
      gives other than one number per class, or probabilities where logits are to come or the
      other way round.
    """
    _check_kind(classifier)
    inputs = tf.nest.flatten(getattr(classifier, "inputs", None) or [])
    if len(inputs) > 1:
        raise ValueError(
            f"classifier {classifier.name!r} takes {len(inputs)} inputs: give a model of the "
            "images alone"
        )
    if _ends_in_linear(classifier) and from_logits:
        return
    shape = _image_shape(classifier, inputs)
    if shape is None:  # built without ever having been called: its first batch will show
        return
    random = np.random.default_rng(0).uniform(*bounds, (_PROBED, *shape)).astype(np.float32)
    outputs = classifier(tf.constant(random), training=False)
    outputs = attacks.checked_logits(outputs, random, f"classifier {classifier.name!r}")
    outputs = outputs.numpy().astype(np.float64)
    off = np.abs(outputs.sum(-1) - 1).max()
    # 1e-2: probabilities that were computed in half precision.
    are_probabilities = outputs.min() >= 0 and off <= 1e-2
    if are_probabilities and from_logits:
        raise ValueError(
            f"classifier {classifier.name!r} ends in a softmax (its outputs sum to 1): give "
            "from_logits=False, or leave the softmax out"
        )
    if not are_probabilities and not from_logits:
        raise ValueError(
            f"from_logits=False, but the outputs of classifier {classifier.name!r} are no "
            f"probabilities (a sum is {off:.3g} away from 1): leave out from_logits=False"
        )


def _check_kind(classifier):
    if not isinstance(classifier, keras_of(classifier).Model):
        raise ValueError(
            f"classifier is a {type(classifier).__name__}: give a tf.keras.Model, or a keras.Model "
            "of Keras 3"
        )
    if not classifier.built:
        raise ValueError(
            f"classifier {classifier.name!r} has no weights yet: build it first, as by "
            "calling it on a batch of images"
        )


def check_derivative(classifier, name: str | None):
    """Raises ValueError unless the derivative of `name` can replace that of the activations.

    Args:
      classifier: a Keras model; where it has no activation of ours, nothing would be replaced.
      name: a row of `activations.ACTIVATIONS`, or None for no replacement.
    """
    if name is None:
        return
    activations.check_derivative(name)
    if is_keras_3(classifier):
        raise ValueError(
            f"classifier {classifier.name!r} is of Keras 3, which has no layers of "
            f"`sat_tf.activations`, so the derivative of {name} would replace nothing: leave "
            "attack_gradient and update_gradient None, or make the classifier of tf.keras"
        )
    if not any(isinstance(part, activations.ActivationLayer) for part in classifier.submodules):
        raise ValueError(
            f"classifier {classifier.name!r} has no layer of `sat_tf.activations`, so "
            f"the derivative of {name} would replace nothing: make its activations by "
            "`sat_tf.activations.create`"
        )


def own_loss(classifier):
    """Returns what the classifier's regularizers and `add_loss` cost since it was last called.

    Returns: float32 scalar; None where there are none.
    """
    losses = classifier.losses
    if not losses:
        return None
    return tf.add_n([tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in losses])


def _last_layer(classifier):
    """Returns the layer whose output is the classifier's, or None where that is not to be seen."""
    last = classifier.layers[-1] if classifier.layers else None
    is_last = (
        last is not None
        and getattr(classifier, "inputs", None)
        and getattr(last, "output", None) is _output(classifier)
    )
    return last if is_last else None


def _output(classifier):
    """Returns the symbolic output, or the structure of several, of a model that has inputs."""
    sequential = keras_of(classifier).Sequential
    if is_keras_3(classifier) and isinstance(classifier, sequential):
        return classifier.outputs[0]  # its `output` is that of whoever called it first, if anybody
    return classifier.output


def _ends_in_linear(classifier):
    last, keras = _last_layer(classifier), keras_of(classifier)
    return (
        isinstance(last, keras.layers.Dense)
        and last.activation is keras.activations.linear
        and last.units > 1
        and len(_output(classifier).shape) == 2
    )


def _ends_in_softmax(classifier):
    last, keras = _last_layer(classifier), keras_of(classifier)
    return (
        isinstance(last, keras.layers.Softmax)
        or getattr(last, "activation", None) is keras.activations.softmax
    )


def _image_shape(classifier, inputs):
    """Returns the shape of one image, or None where it is not known."""
    if inputs:
        shape = inputs[0].shape
    elif is_keras_3(classifier):
        shape = (classifier.get_build_config() or {}).get("input_shape")
    else:
        (spec, *_), _ = classifier.save_spec() or ((None,), None)
        shape = getattr(spec, "shape", None)
    shape = tf.TensorShape(shape)
    if shape.rank is None or shape[-1] is None:
        return None
    return [_ANY_SIZE if size is None else size for size in shape[1:]]


def logits_of(classifier):
    """Returns (images, training) -> logits of a classifier that gives probabilities.

    Where its last layer is a softmax, or a dense layer with one, what goes into the softmax is
    used.  Elsewhere it is the logarithm of the probabilities; those round to 1 far from the
    decision boundary, where the attack then has no gradient and robustness is over-estimated.
    """
    if not _ends_in_softmax(classifier):
        return lambda images, training: tf.math.log(
            tf.maximum(tf.cast(classifier(images, training=training), tf.float32), 1e-30)
        )
    last, keras = classifier.layers[-1], keras_of(classifier)
    # The probabilities, which nobody reads, make the last layer's own losses be counted.
    with classifier.distribute_strategy.scope():
        both = keras.Model(classifier.inputs[0], [last.input, _output(classifier)])

    def before_softmax(images, training):
        values = tf.cast(both(images, training=training)[0], tf.float32)
        if not isinstance(last, keras.layers.Dense):
            return values
        values = tf.tensordot(values, tf.cast(last.kernel, tf.float32), 1)
        return values + tf.cast(last.bias, tf.float32) if last.use_bias else values

    return before_softmax
