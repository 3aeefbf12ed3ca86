"""The layers that the networks share.

    features = layers.InputNormalization(name="input_normalization")(images)
    features = layers.explicit_conv(features, 64, 7, stride=2, name="conv0", seed=0)
    features = layers.batch_norm(0.9, 1e-5, name="conv0_bn")(features)

Feature maps are [batch, height, width, channels] in the compute dtype of the precision policy.
"""

import sys

import numpy as np
import tensorflow as tf

from sat_tf.models.random_layers import Dropout, layer_seed

_register = tf.keras.utils.register_keras_serializable(package="sat_tf")


@_register
class InputNormalization(tf.keras.layers.Layer):
    """Maps images from [0, 1] to [-1, 1], as the original release does.

    It computes in float32 and rounds to the compute dtype after the map: bfloat16 pixels around
    0.5 lie 1/256 apart, as far as small perturbations reach, but around 0 they are dense.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, images):
        return tf.cast(2.0 * tf.cast(images, tf.float32) - 1.0, self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        config.pop("autocast", None)
        return config


def _runs_on_cpu():
    """Whether the strategy in use, or else TensorFlow's default placement, computes on CPUs."""
    strategy = tf.distribute.get_strategy()
    if tf.distribute.has_strategy():
        return all("CPU" in device.upper() for device in strategy.extended.worker_devices)
    return not (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


@_register
class GroupedConv2D(tf.keras.layers.Conv2D):
    """Conv2D(groups=g, use_bias=False) whose gradients also exist on CPUs.

    The native operation has no gradient on a CPU unless oneDNN is enabled (Keras gets around that
    with an XLA program for each layer and shape).  So on CPUs this layer computes the same with
    ordinary convolutions: as many neighbouring groups as fit into `_CPU_CHANNELS` channels at a
    time, by a kernel that is zero between groups.  One group at a time costs too many calls, all
    at once too many products with zero.  The device is the strategy's; without a strategy it is a
    GPU or TPU where there is one.  Kernel: [k, k, in / groups, out].
    """

    _CPU_CHANNELS = 64

    def call(self, inputs):
        convolve = self._merge_groups if _runs_on_cpu() else tf.nn.conv2d
        return convolve(
            inputs, tf.convert_to_tensor(self.kernel), self.strides, self.padding.upper()
        )

    def _merge_groups(self, inputs, kernel, strides, padding):
        width, filters = kernel.shape[2], kernel.shape[3]
        merged = next(
            n
            for n in range(self.groups, 0, -1)
            if self.groups % n == 0 and (n * width <= self._CPU_CHANNELS or n == 1)
        )
        calls = self.groups // merged
        own_group = np.kron(np.eye(merged), np.ones((width, filters // self.groups)))
        own_group = tf.constant(own_group, kernel.dtype)
        parts = zip(tf.split(inputs, calls, 3), tf.split(kernel, calls, 3))
        return tf.concat(
            [
                tf.nn.conv2d(
                    part, tf.tile(part_kernel, [1, 1, merged, 1]) * own_group, strides, padding
                )
                for part, part_kernel in parts
            ],
            axis=3,
        )


def explicit_conv(features, filters, kernel_size, *, name, seed, stride=1, groups=1):
    """Convolves as the release's ResNets do: stride above 1 pads both sides alike, then VALID.

    (TensorFlow's SAME would pad the right and bottom only, on even sizes.)  No bias.  Kernel:
    truncated normal, variance 2 / (kernel_size^2 filters).
    """
    if stride > 1 and kernel_size > 1:
        features = tf.keras.layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(features)
    layer = GroupedConv2D if groups > 1 else tf.keras.layers.Conv2D
    return layer(
        filters,
        kernel_size,
        strides=stride,
        groups=groups,
        use_bias=False,
        name=name,
        padding="same" if stride == 1 else "valid",
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            2.0, "fan_out", "truncated_normal", seed=layer_seed(seed, name)
        ),
    )(features)


def _normalize_by_constants(inputs, gamma, beta, mean, variance, *, epsilon):
    """The fused inference operation, with a gradient in parts.

    The operation's own gradient always sums over the batch for gamma and beta, which an attack,
    who only differentiates its images, throws away; of separate operations the unused are dropped.
    """

    @tf.custom_gradient
    def normalize(inputs, gamma, beta):
        outputs = tf.compat.v1.nn.fused_batch_norm(
            inputs, gamma, beta, mean, variance, epsilon=epsilon, is_training=False
        )[0]

        def backward(upstream):
            inverse = tf.math.rsqrt(variance + epsilon)
            wide, centred = tf.cast(upstream, tf.float32), tf.cast(inputs, tf.float32) - mean
            return (
                upstream * tf.cast(gamma * inverse, upstream.dtype),
                tf.reduce_sum(wide * centred, [0, 1, 2]) * inverse,
                tf.reduce_sum(wide, [0, 1, 2]),
            )

        return outputs, backward

    return normalize(inputs, gamma, beta)


@_register
class BatchNormalization(tf.keras.layers.BatchNormalization):
    """Batch normalisation with a lean inference path and exact synchronised statistics.

    In training mode with `synchronized=True` the statistics are those of the global batch, in
    float32, and the moving variance takes the unbiased variance, as the fused operation's does
    (Keras' own synchronised form takes the biased one), so the number of replicas changes nothing.
    """

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable):
            return _normalize_by_constants(
                inputs,
                *map(
                    tf.convert_to_tensor,
                    (self.gamma, self.beta, self.moving_mean, self.moving_variance),
                ),
                epsilon=self.epsilon,
            )
        if not self.synchronized:
            return super().call(inputs, training=True)
        wide = tf.cast(inputs, tf.float32)
        mean, variance, count = self._global_moments(wide)
        unbiased = variance * count / tf.maximum(count - 1.0, 1.0)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            moving.assign_sub((moving - tf.stop_gradient(value)) * (1.0 - self.momentum))
        outputs = tf.nn.batch_normalization(
            wide, mean, variance, self.beta, self.gamma, self.epsilon
        )
        return tf.cast(outputs, inputs.dtype)

    def _global_moments(self, inputs):
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        sums = tf.concat(
            [
                tf.reduce_sum(inputs, [0, 1, 2]),
                tf.reduce_sum(tf.square(inputs), [0, 1, 2]),
                [count],
            ],
            axis=0,
        )
        context = tf.distribute.get_replica_context()
        if context is not None:
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        channels, count = inputs.shape[-1], sums[-1]
        mean, mean_square = sums[:channels] / count, sums[channels:-1] / count
        return mean, tf.nn.relu(mean_square - tf.square(mean)), count


def batch_norm(momentum, epsilon, name, gamma_initializer="ones", *, sync=True):
    """Returns a batch normalisation, synchronised if the strategy in scope has several replicas.

    Training then does not depend on how many devices share the batch.  Without `sync` each replica
    normalises its own share, as in the original release.
    """
    return BatchNormalization(
        momentum=momentum,
        epsilon=epsilon,
        gamma_initializer=gamma_initializer,
        name=name,
        synchronized=sync and tf.distribute.get_strategy().num_replicas_in_sync > 1,
    )


@_register
class SigmoidGate(tf.keras.layers.Layer):
    """features * sigmoid(gate): a gate, not an activation, so it stays whatever is requested."""

    def call(self, inputs):
        features, gate = inputs
        return features * tf.sigmoid(gate)


def classifier(features, *, num_classes, dropout_rate, kernel_initializer, seed):
    """Pools [B, H, W, C] over its positions and returns float32 logits [B, num_classes]."""
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="pooled_features")(features)
    if dropout_rate > 0:
        pooled = Dropout(dropout_rate, seed, name="dropout")(pooled)
    return tf.keras.layers.Dense(
        num_classes, kernel_initializer=kernel_initializer, dtype="float32", name="linear"
    )(pooled)


def network(images, logits, *, name) -> tf.keras.Model:
    """Returns the Keras model from `images` to `logits`, however deep it is.

    Keras follows the graph with one nested call per layer, and EfficientNet-L2's longest path comes
    so near Python's limit of 1,000 that it depended on the caller, a notebook or a test runner,
    whether the network could be built.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10_000))
    try:
        return tf.keras.Model(images, logits, name=name)
    finally:
        sys.setrecursionlimit(limit)
