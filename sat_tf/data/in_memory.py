"""A part of a data set whose pixels are in memory: whole batches are gathered at once."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Examples(NamedTuple):
    """One part of a data set: images uint8 [N, H, W, 3] RGB, labels int32 [N]."""

    images: np.ndarray
    labels: np.ndarray

    @property
    def size(self) -> int:
        return len(self.labels)

    def prepared(self, batches, recipe) -> tf.data.Dataset:
        """Returns the batches with their images.

        Args:
          batches: a dataset of (step int64, positions int32 [B] in the global batch, indices
            int32 [B]).
          recipe: a `preprocessing.TrainingRecipe` or `EvaluationRecipe`.
        Returns: a dataset of (images float32 [B, S, S, 3] in [0, 1], labels int32 [B], readable
          bool [B]: all true).
        """
        with tf.device("/CPU:0"):  # where tf.data gathers; elsewhere they would be in the way
            images, labels = tf.constant(self.images), tf.constant(self.labels)

        def batch_at(step, positions, indices):
            prepared = recipe.of_pixels(tf.gather(images, indices), step, positions)
            return prepared, tf.gather(labels, indices), tf.ones_like(indices, tf.bool)

        return batches.map(batch_at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
