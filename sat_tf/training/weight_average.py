"""The moving average of a classifier's weights, which is evaluated in their place.

average = WeightAverage(classifier, decay=0.9999)
average.update(step)
with average.in_classifier():
    classifier(images, training=False)
"""

import contextlib

import numpy as np
import tensorflow as tf

from sat_tf.training import classifiers


class WeightAverage(tf.Module):
    """Exponential moving average of a classifier's weights and batch-norm statistics.

    average <- d * average + (1 - d) * weight, with d = min(decay, (1 + t) / (10 + t)) at step t,
    TensorFlow 1's ramp, so that a short run is not dominated by its start.  Unlike Keras' own
    average, it includes the batch-norm statistics and leaves the trained weights alone.

    Every replica keeps its copy, as all see the same weights, so updating needs no communication;
    statistics that differ between replicas are averaged when read.

    An average is that of the weights it has followed.  Who loads others into the classifier behind
    its back would measure the old ones: `check` notices that.
    """

    def __init__(self, classifier: tf.keras.Model, decay: float):
        super().__init__(name="weight_average")
        self.decay = decay
        # A list under tf.Module would track the classifier's weights a second time.
        self._sources = lambda: [
            w for w in classifiers.tf_variables(classifier.weights) if w.dtype.is_floating
        ]
        trainable = {id(w) for w in classifiers.tf_variables(classifier.trainable_weights)}
        self.averages = [
            tf.Variable(
                w,
                trainable=False,
                name=w.name.split(":")[0] + "/average",
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=(
                    tf.VariableAggregation.ONLY_FIRST_REPLICA
                    if id(w) in trainable
                    else tf.VariableAggregation.MEAN
                ),
            )
            for w in self._sources()
        ]

    def note(self, step):
        """Remembers weights and average as they are at an integer `step`, for `check`."""
        self._noted = (step, self._sizes(self._sources()), self._sizes(self.averages))

    def check(self, step):
        """Notes weights and average anew, if training or loading both explains what has changed.

        Raises: ValueError where since the last note, of the same `step`, the weights have changed
          and the average has not.
        """
        noted_step, weights, averages = self._noted
        changed = not self._are_close(weights, self._sources())
        if step == noted_step and changed and self._are_close(averages, self.averages):
            raise ValueError(
                "the classifier's weights were changed outside of training, and the average kept "
                "by ema_decay is still that of the old ones: call restart_average() afterwards, or "
                "load by this model's own load_weights"
            )
        self.note(step)

    @staticmethod
    def _sizes(variables):
        return np.array(
            [tf.reduce_sum(tf.abs(tf.cast(v.read_value(), tf.float32))).numpy() for v in variables]
        )

    def _are_close(self, sizes, variables):
        # Sums need not be the same to the last bit each time.
        return np.allclose(sizes, self._sizes(variables), rtol=1e-5, atol=0)

    def update(self, step):
        """Moves the average; call in replica context after the weights of `step` (from 0) moved."""
        step = tf.cast(step, tf.float32)
        share = 1.0 - tf.minimum(self.decay, (1.0 + step) / (10.0 + step))
        for average, weight in zip(self.averages, self._sources()):
            average.assign_sub((average - weight) * tf.cast(share, average.dtype))

    def copy_to_classifier(self):
        """Overwrites the classifier's weights with the average."""
        for average, weight in zip(self.averages, self._sources()):
            weight.assign(average.read_value())

    def reset(self):
        """Overwrites the average with the classifier's weights."""
        for average, weight in zip(self.averages, self._sources()):
            average.assign(weight.read_value())

    def _swap(self):
        for average, weight in zip(self.averages, self._sources()):
            live = weight.read_value()
            weight.assign(average.read_value())
            average.assign(live)

    @contextlib.contextmanager
    def in_classifier(self):
        """Within this context the classifier holds the average; cross-replica context only.

        One variable is swapped at a time, so the extra memory is that of the largest one.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()
