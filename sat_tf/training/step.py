"""One replica's training step, as functions of the classifier, the optimizer and the method."""

import tensorflow as tf


def perturb(method, logits_fn, images, labels, seed, *, attacking=None):
    """Returns the images to train on.

    Args:
      method: a Method.
      logits_fn: the classifier in inference mode.
      attacking: bool scalar tensor; where it is false the images stay as they are.  None: attack.
    """

    def attack():
        return method.perturb(logits_fn, images, labels, seed)

    if attacking is None:
        return attack()
    return tf.cond(attacking, attack, lambda: tf.identity(images))


def gradients(optimizer, variables, compute_loss):
    """Differentiates this replica's share of the loss; over the replicas the gradients are summed.

    Args:
      optimizer: a LossScaleOptimizer scales the loss, and its gradients back; any other, or
        None, does nothing.
      variables: the trainable variables.
      compute_loss: () -> (float32 scalar mean loss of this replica, anything).
    Returns: (loss, anything, [gradient of loss / num_replicas, or None where it has none]).
    """
    scales_loss = isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        loss, extra = compute_loss()
        scaled_loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
        if scales_loss:
            scaled_loss = optimizer.get_scaled_loss(scaled_loss)
    values = tape.gradient(scaled_loss, variables)
    return loss, extra, optimizer.get_unscaled_gradients(values) if scales_loss else values


def apply_gradients(optimizer, variables, compute_loss):
    """Descends `compute_loss()` by one optimizer step, summing gradients over replicas.

    Args: those of `gradients`, with an optimizer.
    Returns: (loss, anything).
    """
    loss, extra, values = gradients(optimizer, variables, compute_loss)
    optimizer.apply_gradients(zip(values, variables))
    return loss, extra


def perturbation_size(images, adversarial):
    """Returns (mean, max) of the absolute change over the batch, float32 scalars in [0, 1]."""
    change = tf.abs(tf.cast(adversarial, tf.float32) - tf.cast(images, tf.float32))
    return tf.reduce_mean(change), tf.reduce_max(change)
