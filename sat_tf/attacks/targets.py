"""The classes at which targeted attacks aim."""

import tensorflow as tf


def nth_class(logits, rank):
    """Returns the class of the rank-th largest logit, int32 [batch].

    Where logits are equal the class of the lower number comes first, so that rank 1 is the argmax.

    Args:
      logits: floating [batch, num_classes].
      rank: int32 [batch] or scalar, 1 for the largest; more than num_classes is num_classes.
    """
    order = tf.argsort(logits, direction="DESCENDING", stable=True)
    place = tf.clip_by_value(rank, 1, tf.shape(logits)[-1]) - 1
    places = tf.broadcast_to(place, tf.shape(logits)[:1])
    return tf.ensure_shape(tf.gather(order, places, batch_dims=1), logits.shape[:1])
