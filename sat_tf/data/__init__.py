"""Images and labels: where they come from, how they are prepared, how they are batched.

from sat_tf import data
source = data.load("digits")
for images, labels in data.training_batches(
    source, batch_size=128, image_size=8, augment="basic", seed=0).take(1):
  ...                                   # float32 [128, 8, 8, 3] in [0, 1], int32 [128]
"""

from sat_tf.data.augmentation import AUGMENTATIONS
from sat_tf.data.augmentation import Row as Augmentation
from sat_tf.data.classes import aligned, order_of, with_classes
from sat_tf.data.decoding import decode, decode_jpeg_or_png, problem
from sat_tf.data.description import Description, Source
from sat_tf.data.image_folder import images_in, passed_over
from sat_tf.data.in_memory import Examples
from sat_tf.data.pipeline import (
    evaluation_batches,
    steps_per_epoch,
    training_batches,
    validation_batches,
)
from sat_tf.data.preprocessing import evaluation_crop, random_resized_crop, to_float
from sat_tf.data.sources import KINDS, SOURCES, describe, load, register
from sat_tf.data.sources import Row as SourceRow

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Description",
    "Examples",
    "KINDS",
    "SOURCES",
    "Source",
    "SourceRow",
    "aligned",
    "decode",
    "decode_jpeg_or_png",
    "describe",
    "evaluation_batches",
    "evaluation_crop",
    "images_in",
    "passed_over",
    "problem",
    "load",
    "order_of",
    "random_resized_crop",
    "register",
    "steps_per_epoch",
    "to_float",
    "training_batches",
    "validation_batches",
    "with_classes",
]
