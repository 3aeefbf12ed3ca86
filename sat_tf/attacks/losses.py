"""What an attack ascends: one number per example, computed from its logits.

    per_example = cross_entropy(logits, labels)   # float32 [batch]
    per_example = kl_divergence(clean_logits, logits)
"""

import tensorflow as tf


def class_indices(labels):
    """Returns labels as int32 [batch].

    Args:
      labels: integers [batch], or [batch, 1] as some data sets have them.
    Raises: ValueError for anything else, which would broadcast across the examples.
    """
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise ValueError(f"labels are {labels.dtype.name}: give integer class indices")
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        labels = tf.squeeze(labels, 1)
    if labels.shape.rank not in (1, None):
        raise ValueError(f"labels have shape {labels.shape}: give class indices [batch]")
    return tf.cast(labels, tf.int32)


def cross_entropy(logits, labels):
    """Returns the cross-entropy of each example, without label smoothing.

    Computed as softplus(logsumexp of the other logits - true logit).  The usual
    softmax(logits) - one_hot rounds the true class's gradient to 0 in float32 once the margin
    passes about 17, which would stop an attack on confident examples; here it stays exact to
    margins of about 87.  The value is the same.

    Args:
      logits: floating [batch, num_classes], num_classes >= 2; computed with in float32.
      labels: integer [batch], in [0, num_classes).
    Returns: float32 [batch], >= 0.
    """
    logits = tf.cast(logits, tf.float32)
    is_true = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False)
    true_logit = tf.reduce_sum(tf.where(is_true, logits, 0.0), axis=-1)
    others = tf.where(is_true, logits.dtype.min, logits)
    return tf.nn.softplus(tf.reduce_logsumexp(others, axis=-1) - true_logit)


def kl_divergence(reference_logits, logits):
    """Returns KL(softmax(reference_logits) || softmax(logits)) of each example.

    Args:
      reference_logits, logits: floating [batch, num_classes]; computed with in float32.
    Returns: float32 [batch], >= 0 up to rounding; gradients flow to both.
    """
    reference, other = (tf.nn.log_softmax(tf.cast(values, tf.float32))
                        for values in (reference_logits, logits))
    return tf.reduce_sum(tf.exp(reference) * (reference - other), axis=-1)
