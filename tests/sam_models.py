"""Models that train with sharpness-aware steps, small enough for hand-made numbers."""

import contextlib

import tensorflow as tf
import tiny

from sat_tf.training import AdversarialModel, create

PGD = dict(epsilon=0.05, num_steps=2)


def linear():
    """Softmax regression from the pixels, with a bias that is not zero."""
    inputs = tf.keras.Input((tiny.SIZE, tiny.SIZE, 3))
    logits = tf.keras.layers.Dense(
        tiny.CLASSES, bias_initializer=tf.keras.initializers.RandomNormal(stddev=0.3, seed=1)
    )(tf.keras.layers.Flatten()(inputs))
    return tf.keras.Model(inputs, logits)


def network():
    """A network with everything that a pass changes, and a layer that is not trained."""
    return tiny.stochastic_network(frozen=True)


def model_of(
    make_network, sam, *, method=None, optimizer=None, strategy=None, options=(), **kwargs
):
    """An AdversarialModel of PGD without a random start and SGD, unless told otherwise."""
    tf.keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        method = method or create("pgd", random_start=False, **PGD)
        model = AdversarialModel(make_network(), method, sam=sam, **kwargs)
        model.compile(optimizer or tf.keras.optimizers.SGD(0.1), **dict(options))
    return model


def fit(model, count=16, batch_size=16):
    batches = tf.data.Dataset.from_tensor_slices(tiny.examples(count)).batch(batch_size)
    return model.fit(batches, verbose=0).history


def weights_of(model):
    return [w.numpy() for w in model.classifier.weights]
