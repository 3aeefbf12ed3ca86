"""A classifier whose answers are known beforehand, and images for it.

An image is one grey level g, and the model answers class 1 where g > 1/2.  With epsilon 0.1 exactly
the examples further than 0.1 from 1/2, and on the right side, are robust.
"""

import numpy as np
import tensorflow as tf

EPSILON = 0.1
GREYS = np.array([0.0, 0.3, 0.45, 0.55, 0.7, 1.0, 0.2, 0.8, 0.42, 0.58], "float32")
LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 0, 0, 1], "int32")  # the 7th and the 8th are wrong
IMAGES = GREYS[:, None, None, None] * np.ones((1, 2, 2, 3), "float32")
CLEAN, ROBUST = 8, 4


def threshold(images):
    score = 10.0 * (tf.reduce_mean(images, [1, 2, 3]) - 0.5)
    return tf.stack([-score, score], -1)


def padded_batches(batch_size=4):
    """Returns a data set of (images, labels, mask), the last batch filled up with black images."""
    padding = -len(GREYS) % batch_size
    images = np.pad(IMAGES, [(0, padding), (0, 0), (0, 0), (0, 0)])
    mask = np.arange(len(images)) < len(GREYS)
    data = (images, np.pad(LABELS, (0, padding)), mask)
    return tf.data.Dataset.from_tensor_slices(data).batch(batch_size)
