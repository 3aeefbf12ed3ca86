"""What adversarial training needs to know of somebody else's classifier."""

import tensorflow as tf

from sat_tf import activations


def check(classifier: tf.keras.Model, from_logits: bool):
    """Raises ValueError unless `classifier` is built and gives what `from_logits` says."""
    if not classifier.built:
        raise ValueError(
            f"classifier {classifier.name!r} has no weights yet: build it first, as by "
            "calling it on a batch of images"
        )
    if from_logits and _ends_in_softmax(classifier):
        raise ValueError(
            f"classifier {classifier.name!r} ends in a softmax: give "
            "from_logits=False, or leave the softmax out"
        )


def check_derivative(classifier: tf.keras.Model, name: str | None):
    """Raises ValueError unless the derivative of `name` can replace that of the activations.

    Args:
      classifier: a Keras model; where it has no activation of ours, nothing would be replaced.
      name: a row of `activations.ACTIVATIONS`, or None for no replacement.
    """
    if name is None:
        return
    activations.check_derivative(name)
    if not any(isinstance(part, activations.ActivationLayer) for part in classifier.submodules):
        raise ValueError(
            f"classifier {classifier.name!r} has no layer of `sat_tf.activations`, so "
            f"the derivative of {name} would replace nothing: make its activations by "
            "`sat_tf.activations.create`"
        )


def _ends_in_softmax(classifier):
    last = classifier.layers[-1] if classifier.layers else None
    return (
        isinstance(last, tf.keras.layers.Softmax)
        or getattr(last, "activation", None) is tf.keras.activations.softmax
    )


def logits_of(classifier: tf.keras.Model):
    """Returns (images, training) -> logits of a classifier that gives probabilities.

    Where its last layer is a softmax, or a dense layer with one, what goes into the softmax is
    used.  Elsewhere it is the logarithm of the probabilities; those round to 1 far from the
    decision boundary, where the attack then has no gradient and robustness is over-estimated.
    """
    if not _ends_in_softmax(classifier) or not getattr(classifier, "inputs", None):
        return lambda images, training: tf.math.log(
            tf.maximum(tf.cast(classifier(images, training=training), tf.float32), 1e-30)
        )
    last = classifier.layers[-1]
    with classifier.distribute_strategy.scope():
        features = tf.keras.Model(classifier.inputs, last.input)
    if not isinstance(last, tf.keras.layers.Dense):
        return features

    def before_softmax(images, training):
        values = tf.cast(features(images, training=training), tf.float32)
        values = tf.tensordot(values, tf.cast(last.kernel, tf.float32), 1)
        return values + tf.cast(last.bias, tf.float32) if last.use_bias else values

    return before_softmax
