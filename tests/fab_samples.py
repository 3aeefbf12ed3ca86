"""What the tests of FAB attack: a linear network, and the tiny one with images it knows."""

import functools

import numpy as np
import tensorflow as tf
import tiny

from sat_tf.attacks.fab import fab

RNG = np.random.RandomState(0)
TEMPLATES = RNG.randn(192, 4).astype("float32")
SEEDS = tf.constant([[1, number] for number in range(32)], tf.int64)
EPSILONS = {"linf": 0.03, "l2": 0.5}  # at which about half of the tiny network's examples break


def linear(images):
    return tf.reshape(images, [-1, 192]) @ TEMPLATES


def predicted(logits_fn, images):
    return tf.argmax(logits_fn(images), -1, tf.int32).numpy()


def traced_fab(*arguments, **settings):
    """`fab` as a graph, which many steps are faster in."""
    return tf.function(lambda: fab(*arguments, **settings))()


def lengths(changes, norm):
    flat = np.asarray(changes, "float64").reshape(len(changes), -1)
    return np.abs(flat).max(1) if norm == "linf" else np.sqrt((flat**2).sum(1))


@functools.cache
def classifier():
    """(logits_fn, images, labels), of which the network is right about all but the last two."""
    tf.keras.utils.set_random_seed(3)
    network = tiny.network()
    logits_fn = lambda images: network(images, training=False)
    images, _ = tiny.examples(32)
    labels = predicted(logits_fn, images)
    labels[-2:] = (labels[-2:] + 1) % tiny.CLASSES
    return logits_fn, images, labels
