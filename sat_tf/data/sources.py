"""Where the images come from: SOURCES names every data set, with its description and its loader.

    description = describe("digits")        # reads no pixels
    source = load("digits")
    source.train.images                     # uint8 [1437, 8, 8, 3]
"""

import dataclasses
from typing import Callable, NamedTuple, Optional, Tuple

import numpy as np

from sat_tf.errors import look_up

_DIGITS_SPLIT_SEED = 20200625  # fixed, whatever the run's seed: every run sees the same two parts


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of a data set before any pixel is read.

    Attributes:
      name: the name in SOURCES.
      num_classes: number of classes; labels are 0 .. num_classes - 1.
      image_size: side in pixels of the square images a network gets by default.
      train_examples, eval_examples: sizes of the two parts.
      class_names: one name a class in label order, or () where there are none.
      crop_padding: the border the evaluation crop takes away, in pixels of an image that is
        `image_size + crop_padding` wide; 0 keeps the whole central square.
      flip: whether a mirrored image keeps its label, so that training may mirror it.
    """
    name: str
    num_classes: int
    image_size: int
    train_examples: int
    eval_examples: int
    class_names: Tuple[str, ...]
    crop_padding: int
    flip: bool


class Examples(NamedTuple):
    """One part of a data set: images uint8 [N, H, W, 3] RGB, labels int32 [N]."""
    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
    """A loaded data set."""
    description: Description
    train: Examples
    eval: Examples


class Row(NamedTuple):
    """One row of SOURCES: the description, and data_dir -> Source."""
    description: Description
    load: Callable[[Optional[str]], Source]


_DIGITS = Description(
    name="digits", num_classes=10, image_size=8, train_examples=1437, eval_examples=360,
    class_names=tuple("0123456789"), crop_padding=0, flip=False)


def _load_digits(data_dir):
    """The handwritten digits bundled with scikit-learn (UCI "optdigits", its test part).

    There is no official split of these 1797 images, so this one is ours: 1437 to train and 360
    to evaluate, stratified by class, in an order shuffled by a seed of its own.
    """
    del data_dir  # bundled: nothing is read from there
    from sklearn import datasets, model_selection  # slow to import, and only this source needs it
    bunch = datasets.load_digits()
    # 17 grey levels, 0 .. 16, onto the 8 bits of a PNG: a saved digit is what the network sees.
    grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    labels = bunch.target.astype(np.int32)
    parts = model_selection.train_test_split(
        np.arange(len(labels)), train_size=_DIGITS.train_examples,
        test_size=_DIGITS.eval_examples, stratify=labels, random_state=_DIGITS_SPLIT_SEED)
    return Source(_DIGITS, *(Examples(images[part], labels[part]) for part in parts))


SOURCES = {
    "digits": Row(_DIGITS, _load_digits),
}


def _row(name):
    return look_up(SOURCES, "data set", name)


def describe(name: str) -> Description:
    """Returns the description of a data set without loading it.

    Raises: ValueError naming the known data sets if `name` is not one of them.
    """
    return _row(name).description


def load(name: str, data_dir: Optional[str] = None) -> Source:
    """Returns a data set with its pixels in memory.

    Args:
      name: a name in SOURCES.
      data_dir: folder of prepared data sets; those bundled with a package do not look there.
    Raises: ValueError naming the known data sets if `name` is not one of them.
    """
    return _row(name).load(data_dir)
