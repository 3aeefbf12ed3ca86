"""One replica's training step, as functions of the classifier, the optimizer and the method."""

import contextlib

import tensorflow as tf


class Passes:
    """The passes of a loss through the network, and what they leave behind.

    passes = Passes(logits_fn, own_loss)
    with passes.of_a_loss():
        per_example, measured = method.loss(passes, images, adversarial, labels)
    loss = tf.reduce_mean(per_example) + passes.own_loss()

    Args:
      logits_fn: float images [batch, height, width, channels] -> logits [batch, classes].
      own_loss: () -> what the last pass cost beside the method's loss, float32 scalar, or None.
    """

    def __init__(self, logits_fn, own_loss):
        self._logits_fn, self._own_loss = logits_fn, own_loss
        self._seen, self._is_first, self._costs = [], True, []

    @contextlib.contextmanager
    def of_a_loss(self):
        """Begins the passes of one loss; sharpness-aware updates ask for a second one."""
        self._costs = []
        yield
        self._is_first = False

    def __call__(self, images):
        logits = self._logits_fn(images)
        if self._is_first:
            self._seen.append((images, logits))
        cost = self._own_loss()
        if cost is not None:
            self._costs.append(cost)
        return logits

    def own_loss(self):
        """Returns the mean over the passes: what does not depend on them counts once."""
        return tf.add_n(self._costs) / len(self._costs) if self._costs else 0.0

    def logits_of(self, images):
        """Returns the logits of the first loss' pass of this very tensor, or None without one."""
        return next((logits for seen, logits in self._seen if seen is images), None)


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
    count = tf.cast(tf.size(change), tf.float32)  # of no images, as a replica may have them: 0
    mean = tf.math.divide_no_nan(tf.reduce_sum(change), count)
    return mean, tf.maximum(tf.reduce_max(change), 0.0)
