"""Images and labels: where they come from, how they are prepared, how they are batched.

    from sat_tf import data
    source = data.load("digits")
    for images, labels in data.training_batches(
        source, batch_size=128, image_size=8, augment="basic", seed=0).take(1):
      ...                                   # float32 [128, 8, 8, 3] in [0, 1], int32 [128]
"""

from sat_tf.data.pipeline import (
    AUGMENTATIONS, evaluation_batches, steps_per_epoch, training_batches)
from sat_tf.data.sources import SOURCES, Description, Examples, Source, describe, load

__all__ = [
    "AUGMENTATIONS", "Description", "Examples", "SOURCES", "Source", "describe",
    "evaluation_batches", "load", "steps_per_epoch", "training_batches"]
