"""One replica's training step, as functions of the classifier, the optimizer and the method."""

import contextlib

import tensorflow as tf

from sat_tf.training import classifiers


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


class Weights:
    """What a step moves, and how: a classifier's variables and the optimizer of its Keras.

    Args:
      classifier: a Keras model.
      optimizer: of the same Keras; a LossScaleOptimizer scales the loss and its gradients back.
    Attributes:
      variables: the trainable tf.Variables, in the order of the gradients.
      state: the others, which a pass through the network may change.
    """

    def __init__(self, classifier, optimizer):
        self._moved, self._optimizer = classifier.trainable_variables, optimizer
        self.variables = classifiers.tf_variables(self._moved)
        self.state = classifiers.tf_variables(classifier.non_trainable_variables)

    def _scales(self):
        return isinstance(self._optimizer, tf.keras.mixed_precision.LossScaleOptimizer)

    def scaled(self, loss):
        """Returns the loss to differentiate."""
        return self._optimizer.get_scaled_loss(loss) if self._scales() else loss

    def unscaled(self, gradients):
        """Returns gradients of a scaled loss as `apply` takes them."""
        return self._optimizer.get_unscaled_gradients(gradients) if self._scales() else gradients

    def apply(self, gradients):
        """Moves the variables by one optimizer step, summing gradients over replicas."""
        self._optimizer.apply_gradients(zip(gradients, self._moved))


def gradients(weights, compute_loss):
    """Differentiates this replica's share of the loss; over the replicas the gradients are summed.

    Args:
      weights: a Weights.
      compute_loss: () -> (float32 scalar mean loss of this replica, anything).
    Returns: (loss, anything, [gradient of loss / num_replicas, or None where it has none]), the
      gradients as `weights.apply` takes them.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights.variables)
        loss, extra = compute_loss()
        scaled_loss = weights.scaled(loss / tf.distribute.get_strategy().num_replicas_in_sync)
    return loss, extra, weights.unscaled(tape.gradient(scaled_loss, weights.variables))


def apply_gradients(weights, compute_loss):
    """Descends `compute_loss()` by one optimizer step.

    Args: those of `gradients`.
    Returns: (loss, anything).
    """
    loss, extra, values = gradients(weights, compute_loss)
    weights.apply(values)
    return loss, extra


def perturbation_size(images, adversarial):
    """Returns (mean, max) of the absolute change over the batch, float32 scalars in [0, 1]."""
    change = tf.abs(tf.cast(adversarial, tf.float32) - tf.cast(images, tf.float32))
    count = tf.cast(tf.size(change), tf.float32)  # of no images, as a replica may have them: 0
    mean = tf.math.divide_no_nan(tf.reduce_sum(change), count)
    return mean, tf.maximum(tf.reduce_max(change), 0.0)
