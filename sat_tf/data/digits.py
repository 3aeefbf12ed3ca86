"""The handwritten digits bundled with scikit-learn (UCI "optdigits", its test part)."""

import numpy as np

from sat_tf.data.description import Description, Source
from sat_tf.data.in_memory import Examples

_SPLIT_SEED = 20200625  # fixed, whatever the run's seed: every run sees the same two parts
_DESCRIPTION = Description(
    name="digits",
    num_classes=10,
    image_size=8,
    train_examples=1437,
    eval_examples=360,
    class_names=tuple("0123456789"),
    crop_padding=0,
    flip=False,
)


def describe(unused_name, unused_reading) -> Description:
    """Returns the description."""
    return _DESCRIPTION


def load(unused_name, unused_reading) -> Source:
    """Returns the digits; they come with a package, so there is nothing to read elsewhere.

    There is no official split of these 1797 images, so this one is ours: 1437 to train and 360
    to evaluate, stratified by class, in an order shuffled by a seed of its own.
    """
    from sklearn import datasets, model_selection  # slow to import, and only this source needs it

    bunch = datasets.load_digits()
    # 17 grey levels, 0 .. 16, onto the 8 bits of a PNG: a saved digit is what the network sees.
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    labels = bunch.target.astype(np.int32)
    parts = model_selection.train_test_split(
        np.arange(len(labels)),
        train_size=_DESCRIPTION.train_examples,
        test_size=_DESCRIPTION.eval_examples,
        stratify=labels,
        random_state=_SPLIT_SEED,
    )
    return Source(_DESCRIPTION, *(Examples(images[part], labels[part]) for part in parts))
