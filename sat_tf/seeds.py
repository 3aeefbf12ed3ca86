"""Stateless seeds: what is random is a function of the run's seed, a stream and a number.

Every use of a run's seed has a stream of its own, so that no two of them draw the same numbers.
"""

import tensorflow as tf

ORDER, AUGMENTATION, TRAINING_ATTACK, EVALUATION_ATTACK, HELD_OUT = range(5)


def stream_seed(seed: int, stream: int, number) -> tf.Tensor:
    """Returns int64 [2] for one epoch, step or batch.

    Args:
      seed: the run's, a Python integer.
      stream: one of the constants above.
      number: integer or integer scalar tensor: which epoch, step or batch.
    """
    base = tf.constant([seed, stream], tf.int64)
    return tf.random.experimental.stateless_fold_in(base, tf.cast(number, tf.int64))


def replica_seed(seed: int, stream: int, number) -> tf.Tensor:
    """Returns `stream_seed` with the replica's number folded in; call in replica context."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.random.experimental.stateless_fold_in(
        stream_seed(seed, stream, number), tf.cast(replica, tf.int64)
    )


def example_seeds(seed: int, stream: int, numbers) -> tf.Tensor:
    """Returns int64 [batch, 2], one for each example, whatever its batch.

    Args:
      seed, stream: as in `stream_seed`.
      numbers: integer [batch], the examples' places in their data set.
    """
    numbers = tf.cast(numbers, tf.int64)
    return tf.stack([tf.zeros_like(numbers) + (seed * 8 + stream), numbers], -1)
