"""What an attack ascends: one number per example, computed from its logits.

per_example = cross_entropy(logits, labels)   # float32 [batch]
per_example = kl_divergence(clean_logits, logits)
per_example = dlr(logits, labels)
"""

import tensorflow as tf
from tensorflow.types.experimental import TensorLike


def cross_entropy(logits: TensorLike, labels: TensorLike) -> tf.Tensor:
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
    true_logit, others = _true_and_others(tf.cast(logits, tf.float32), labels)
    return tf.nn.softplus(tf.reduce_logsumexp(others, axis=-1) - true_logit)


def negative(loss):
    """Returns the loss (logits, labels) -> -loss(logits, labels), to be ascended towards labels."""
    return lambda logits, labels: -loss(logits, labels)


def kl_divergence(reference_logits: TensorLike, logits: TensorLike) -> tf.Tensor:
    """Returns KL(softmax(reference_logits) || softmax(logits)) of each example.

    Args:
      reference_logits, logits: floating [batch, num_classes]; computed with in float32.
    Returns: float32 [batch], >= 0 up to rounding; gradients flow to both.
    """
    reference, other = (
        tf.nn.log_softmax(tf.cast(values, tf.float32)) for values in (reference_logits, logits)
    )
    return tf.reduce_sum(tf.exp(reference) * (reference - other), axis=-1)


def margin(logits: TensorLike, labels: TensorLike) -> tf.Tensor:
    """Returns by how much the highest other logit exceeds the true one.

    Args:
      logits: floating [batch, num_classes], num_classes >= 2; computed with in float32.
      labels: integer [batch], in [0, num_classes).
    Returns: float32 [batch], > 0 where the example is misclassified.
    Raises: ValueError for a single class, and where their number is not known.
    Reference: Carlini & Wagner, 2017, section 5.1, f6, https://arxiv.org/abs/1608.04644; of logits,
      and not cut off at 0, so that a broken example goes on.
    """
    _class_count(logits)
    true_logit, others = _true_and_others(tf.cast(logits, tf.float32), labels)
    return tf.reduce_max(others, axis=-1) - true_logit


def dlr(logits, labels):
    """Returns the difference of logits ratio, margin / (z_(1) - z_(3)), z_(i) the i-th highest.

    Shifting the logits or multiplying them by a positive number does not change it, so it does not
    fade as a network grows confident.  Of two classes there is no third: there it is the margin.

    Args:
      logits: floating [batch, num_classes], num_classes >= 2; computed with in float32.
      labels: integer [batch], in [0, num_classes).
    Returns: float32 [batch], to be ascended; > 0 where the example is misclassified.
    Raises: as `margin`.
    Reference: Croce & Hein, 2020, section 4, https://arxiv.org/abs/2003.01690.
    """
    return margin(logits, labels) / _spread(logits, ranks=[3])


def targeted_dlr(logits, labels, targets):
    """Returns (z_target - z_true) / (z_(1) - (z_(3) + z_(4)) / 2), z_(i) the i-th highest logit.

    Of three classes there is no fourth: there the denominator is z_(1) - z_(3).  With two there is
    none.

    Args:
      logits: floating [batch, num_classes], num_classes >= 2; computed with in float32.
      labels, targets: integer [batch], in [0, num_classes); where they are equal, the loss is 0.
    Returns: float32 [batch], to be ascended.
    Raises: as `margin`.
    Reference: Croce & Hein, 2020, section 4.2, https://arxiv.org/abs/2003.01690.
    """
    spread = _spread(logits, ranks=[3, 4])
    logits = tf.cast(logits, tf.float32)
    true_logit, _ = _true_and_others(logits, labels)
    target_logit, _ = _true_and_others(logits, targets)
    return (target_logit - true_logit) / spread


def classes_by_rank(logits, labels, count):
    """Returns the `count` classes other than the true one of the highest logits, highest first.

    Args:
      logits: floating [batch, num_classes], num_classes >= 2.
      labels: integer [batch], in [0, num_classes).
      count: how many; with fewer other classes, all of them are returned.
    Returns: int32 [batch, at most count].
    Raises: as `margin`.
    """
    count = min(count, _class_count(logits) - 1)
    _, others = _true_and_others(tf.cast(logits, tf.float32), labels)
    return tf.math.top_k(others, count).indices


def _true_and_others(logits, labels):
    """Returns the true logits [batch], and all with the lowest number in the true one's place."""
    is_true = tf.one_hot(labels, tf.shape(logits)[-1], on_value=True, off_value=False)
    return (
        tf.reduce_sum(tf.where(is_true, logits, 0.0), axis=-1),
        tf.where(is_true, logits.dtype.min, logits),
    )


def _spread(logits, *, ranks):
    """Returns z_(1) minus the mean z of those `ranks` that there are, + 1e-12; or 1 if none is."""
    ranks = [rank for rank in ranks if rank <= _class_count(logits)]
    if not ranks:
        return 1.0
    highest = tf.math.top_k(tf.cast(logits, tf.float32), ranks[-1]).values
    return highest[:, 0] - sum(highest[:, rank - 1] for rank in ranks) / len(ranks) + 1e-12


def _class_count(logits):
    count = logits.shape[-1]
    if count is None:
        raise ValueError(
            "the number of logits is not known while tracing: give logits of a static "
            "number of classes, as tf.ensure_shape does"
        )
    if count < 2:
        raise ValueError(f"logits have shape {logits.shape}: attacks need at least 2 classes")
    return count
