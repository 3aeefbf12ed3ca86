"""Layers that draw: each draw is a function of a seed and of how often the layer was called.

features = Dropout(0.2, seed=7, name="dropout")(features)
branch = stochastic_depth(
    branch, survival_probability=0.8, block=3, num_blocks=16, name="depth3", seed=7)
"""

import zlib

import tensorflow as tf

_register = tf.keras.utils.register_keras_serializable(package="sat_tf")


def layer_seed(seed: int, name: str) -> int:
    """Returns a seed that depends on the layer's name only, not on what was built before it."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF


class _CountingLayer(tf.keras.layers.Layer):
    """A random layer whose draws are a function of (seed, layer name, replica, training calls).

    The number of training calls is a weight, so a restored network goes on where it stopped.
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        self.calls = self.add_weight(
            name="calls",
            shape=[],
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        super().build(input_shape)

    def uniform(self, shape):
        """Counts one call and returns float32 draws from [0, 1)."""
        context = tf.distribute.get_replica_context()
        replica = 0 if context is None else context.replica_id_in_sync_group
        call = tf.identity(self.calls)
        self.calls.assign_add(1)
        # Room for 2^16 replicas before the draws of two calls could coincide.
        stream = call * 65536 + tf.cast(replica, tf.int64)
        salt = tf.constant(layer_seed(self.seed, self.name), tf.int64)
        return tf.random.stateless_uniform(shape, tf.stack([salt, stream]))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@_register
class Dropout(_CountingLayer):
    """Zeroes a share `rate` of the inputs in training mode, scales the rest by 1/(1 - rate)."""

    def __init__(self, rate, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        self.rate = rate

    def call(self, inputs, training=None):
        if not training:
            return inputs
        kept = self.uniform(tf.shape(inputs)) >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) / (1.0 - self.rate)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate}


@_register
class StochasticDepth(_CountingLayer):
    """Drops a residual branch, per example, in training mode; divides it by `survival` otherwise.

    Reference: Huang et al., 2016, https://arxiv.org/abs/1603.09382; scaling as in the release.
    """

    def __init__(self, survival, seed=0, **kwargs):
        super().__init__(seed, **kwargs)
        self.survival = survival

    def call(self, inputs, training=None):
        if not training:
            return inputs
        shape = tf.concat([tf.shape(inputs)[:1], tf.ones([inputs.shape.rank - 1], tf.int32)], 0)
        survives = self.uniform(shape) < self.survival
        return inputs * (tf.cast(survives, inputs.dtype) / self.survival)

    def get_config(self):
        return {**super().get_config(), "survival": self.survival}


def stochastic_depth(branch, *, survival_probability, block, num_blocks, name, seed):
    """Applies the release's rule: block i of n survives with 1 - (1 - p) i / n, i from 0."""
    survival = 1.0 - (1.0 - survival_probability) * block / num_blocks
    return branch if survival >= 1.0 else StochasticDepth(survival, seed, name=name)(branch)
