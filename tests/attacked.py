"""What the tests of attacks attack, and how they look into the graph of an attack."""

import contextlib
import functools

import numpy as np
import tensorflow as tf

EPSILON = 8 / 255
RNG = np.random.RandomState(0)
IMAGES = RNG.rand(6, 8, 8, 3).astype("float32")
LABELS = (np.arange(6) % 4).astype("int32")
TEMPLATES = RNG.randn(8 * 8 * 3, 4).astype("float32")


def linear(images):
    return tf.reshape(images, [-1, 8 * 8 * 3]) @ TEMPLATES


def make_conv_net(dtype="float32"):
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Conv2D(8, 3, activation="swish", input_shape=(8, 8, 3), dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.GlobalAveragePooling2D(dtype=dtype),
            layers.Dense(4, dtype=dtype),
        ]
    )


@functools.cache
def conv_net():
    tf.keras.utils.set_random_seed(1)
    return make_conv_net()


def logits_fn(images):
    return conv_net()(images, training=False)


@contextlib.contextmanager
def op_by_op():
    """Has attacks run eagerly, where they would be traced."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


class Counting:
    """A logits_fn that counts its calls: traces, when inside a graph."""

    def __init__(self, logits_fn):
        self.logits_fn, self.calls = logits_fn, 0

    def __call__(self, images):
        self.calls += 1
        return self.logits_fn(images)


def functions_of(function, *arguments):
    """The graph of a tf.function as FunctionDefs: itself, and the loop bodies and calls in it."""
    concrete = function.get_concrete_function(*arguments)
    return [concrete.function_def, *concrete.graph.as_graph_def().library.function]


def executed_ops(function_def):
    """The ops on which the outputs depend.  TensorFlow never runs the other ones."""
    nodes = {node.name: node for node in function_def.node_def}
    reached = set()
    waiting = [*function_def.ret.values(), *function_def.control_ret.values()]
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in reached:
            reached.add(name)
            waiting.extend(nodes[name].input)
    return [nodes[name].op for name in reached]
