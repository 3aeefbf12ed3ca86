"""Encoded files as tensors of bytes, and functions of them."""

import tensorflow as tf


def of_file(function):
    """Returns a function of a string scalar as one graph, made once, for all that calls it."""
    signature = [tf.TensorSpec([], tf.string)]
    return tf.function(function, input_signature=signature, autograph=False)


def has(text, part: bytes):
    """Returns whether a string scalar contains `part`."""
    found = tf.raw_ops.StringSplitV2(input=[text], sep=part, maxsplit=1)
    return tf.size(found.values) > 1


def byte_values(text):
    """Returns the bytes of a string scalar, int32 [length]."""
    return tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32)


def number_at(values, at, size, *, big):
    """Returns the unsigned number of `size` bytes at a place, int32 (of 4 bytes the lower 31 bits).

    Args:
      values: int32 [length], of `byte_values`.
      at: int32, any shape; the number is inside.
      size: 2 or 4.
      big: bool, whether its first byte is the highest; a tensor or not.
    """
    places = tf.range(size)
    read = tf.gather(values, tf.expand_dims(at, -1) + places)
    shifts = tf.where(big, 8 * (size - 1 - places), 8 * places)
    highest = shifts == 24
    read = tf.where(highest, read & 0x7F, read)
    return tf.reduce_sum(tf.bitwise.left_shift(read, shifts), -1)
