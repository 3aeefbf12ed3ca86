"""What Keras' `fit` and `evaluate` hand to a step: images, labels and sample weights.

images, labels, sample_weight = unpack(data, bounds=(0.0, 1.0))
loss = weighted_mean(per_example, sample_weight)
"""

import tensorflow as tf

from sat_tf import attacks


def unpack(data, *, bounds):
    """Returns the parts of a batch, each in the one form that the steps work with.

    Args:
      data: (images, labels) or (images, labels, sample_weight), as Keras unpacks it.
      bounds: lowest and highest valid pixel.
    Returns: images floating [batch, height, width, channels], labels int32 [batch], and
      sample_weight float32 [batch] or None.
    Raises: ValueError for no labels, and for labels and weights of another form; see
      `attacks.class_indices`.
    """
    images, labels, sample_weight = tf.keras.utils.unpack_x_y_sample_weight(data)
    if labels is None:
        raise ValueError("there are no labels: give (images, labels)")
    images = attacks.images_within(images, bounds)
    labels = attacks.class_indices(labels)
    return images, labels, None if sample_weight is None else _weights(sample_weight, labels)


def _weights(sample_weight, labels):
    """Returns float32 [batch]; a last dimension of 1 is dropped, as Keras drops it."""
    if tf.nest.is_nested(sample_weight):
        raise ValueError(
            f"sample_weight is a {type(sample_weight).__name__}: give one weight for each image"
        )
    weights = tf.convert_to_tensor(sample_weight)
    if not (weights.dtype.is_floating or weights.dtype.is_integer):
        raise ValueError(f"sample_weight is {weights.dtype.name}: give numbers")
    if weights.shape.rank == 2 and weights.shape[1] == 1:
        weights = tf.squeeze(weights, 1)
    if weights.shape.rank != 1:  # it would broadcast across the examples
        raise ValueError(
            f"sample_weight has shape {weights.shape}: give one weight for each image, [batch] or "
            "[batch, 1]"
        )
    tf.debugging.assert_equal(
        tf.size(weights), tf.size(labels), "sample_weight: give one weight for each image"
    )
    return tf.cast(weights, tf.float32)


def weighted_mean(per_example, sample_weight):
    """Returns the sum of weight * value, divided by the number of examples, as Keras' losses are.

    Args:
      per_example: floating [batch]; of no examples, as a replica may have them, the mean is 0.
      sample_weight: float32 [batch], or None for weights of 1.
    """
    if sample_weight is not None:
        per_example *= tf.cast(sample_weight, per_example.dtype)
    count = tf.cast(tf.size(per_example), per_example.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(per_example), count)
