"""The small network and images that tests share."""

import functools

import numpy as np
import tensorflow as tf

from sat_tf import activations
from sat_tf.models import layers, random_layers

CLASSES = 4
SIZE = 8


def network(*, batch_norm=True, name="tiny", synchronized=False, activation=None):
    """A convolutional classifier, float32 [N, 8, 8, 3] -> logits [N, 4]; Keras' swish if no
    other."""
    activation = activation or functools.partial(tf.keras.layers.Activation, "swish")
    inputs = tf.keras.Input((SIZE, SIZE, 3))
    features = tf.keras.layers.Conv2D(8, 3, strides=2, padding="same")(inputs)
    if batch_norm:
        features = tf.keras.layers.BatchNormalization(momentum=0.9, synchronized=synchronized)(
            features
        )
    features = activation()(features)
    features = tf.keras.layers.GlobalAveragePooling2D()(features)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(CLASSES)(features), name=name)


def stochastic_network(*, frozen=False):
    """Our batch norm, stochastic depth and dropout, float32 [N, 8, 8, 3] -> logits [N, 10].

    With `frozen`, behind a convolution that is not trained.
    """
    inputs = features = tf.keras.Input((SIZE, SIZE, 3))
    if frozen:
        features = tf.keras.layers.Conv2D(8, 3, padding="same", trainable=False)(features)
    features = tf.keras.layers.Conv2D(8, 3, padding="same")(features)
    features = layers.batch_norm(0.9, 1e-5, "bn")(features)
    branch = tf.keras.layers.Conv2D(8, 3, padding="same", activation="swish")(features)
    branch = random_layers.StochasticDepth(0.5, seed=2, name="depth")(branch)
    features = tf.keras.layers.GlobalAveragePooling2D()(features + branch)
    features = random_layers.Dropout(0.3, seed=2, name="dropout")(features)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(10)(features))


def examples(count=32, seed=0):
    """Returns images float32 [count, 8, 8, 3] in [0, 1] and labels int32 that colour decides."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count).astype(np.int32)
    images = random.uniform(0.2, 0.6, (count, SIZE, SIZE, 3)).astype(np.float32)
    images[np.arange(count), :, :, labels % 3] += 0.3 * (labels[:, None, None] < 3)
    return np.clip(images, 0, 1), labels


@functools.cache
def _trained_weights(activation):
    network_ = network(activation=activations.create(activation))
    network_.compile(
        tf.keras.optimizers.Adam(0.01),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    network_.fit(*examples(256), epochs=15, batch_size=32, verbose=0)
    return network_.get_weights()


def trained(activation="relu", policy="float32"):
    """Returns images -> logits of a network that classifies `examples`, in inference mode.

    Its weights are the same in every precision; `network` of the function is the Keras model.
    """
    tf.keras.mixed_precision.set_global_policy("float32")
    weights = _trained_weights(activation)
    tf.keras.mixed_precision.set_global_policy(policy)
    classifier = network(activation=activations.create(activation))
    classifier.set_weights(weights)
    logits_fn = functools.partial(classifier, training=False)
    logits_fn.network = classifier
    return logits_fn
