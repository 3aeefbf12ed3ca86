"""Where the images come from: SOURCES and KINDS name every data set there is.

description = describe("digits")        # reads no pixels
source = load("digits")
source.train.images                     # uint8 [1437, 8, 8, 3]
load("cifar10", data_dir="data"), load("tfrecord:imagenet"), load("folder:photos")
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from sat_tf.data import augmentation, digits, image_folder, imagenet_records, tfds_sets
from sat_tf.data.description import Description, Reading, Source
from sat_tf.errors import UserError, add


class Row(NamedTuple):
    """(name, Reading) -> Description, and (name, Reading) -> Source."""

    describe: Callable[[str, Reading], Description]
    load: Callable[[str, Reading], Source]


_TFDS = Row(tfds_sets.describe, tfds_sets.load)

SOURCES = {"digits": Row(digits.describe, digits.load), **dict.fromkeys(tfds_sets.KNOWN, _TFDS)}
KINDS = {  # what a name may begin with, before a colon and a path
    "tfrecord": Row(imagenet_records.describe, imagenet_records.load),
    "folder": Row(image_folder.describe, image_folder.load),
}


def register(name: str, row: Row | Source | augmentation.Row) -> None:
    """Adds a data set to SOURCES, or an augmentation to AUGMENTATIONS.

    Args:
      name: that no row of the table has.
      row: for a data set a `Row`, or a loaded `Source`; for an augmentation an
        `augmentation.Row`.
    Raises: ValueError for a name that is taken, and for anything else.
    """
    if isinstance(row, augmentation.Row):
        add(augmentation.AUGMENTATIONS, "augmentation", name, row)
        return
    if isinstance(row, Source):
        source = row
        row = Row(lambda name, reading: source.description, lambda name, reading: source)
    if not isinstance(row, Row):
        raise ValueError(
            f"data set {name!r}: give a Source, or a row of SOURCES or AUGMENTATIONS, not {row!r}"
        )
    add(SOURCES, "data set", name, row)


def _row(name):
    kind, colon, path = name.partition(":")
    if colon and kind in KINDS:
        if not path:
            raise UserError(f"--dataset={name}: no path; write {kind}:PATH")
        return KINDS[kind]
    return SOURCES.get(name, _TFDS)  # TFDS knows, and refuses, all other names


def _canonical(name):
    """Returns the name with its path, where it has one on this machine, in full."""
    kind, _, path = name.partition(":")
    if kind in KINDS and path and "://" not in path:
        return f"{kind}:{os.path.abspath(os.path.expanduser(path))}"
    return name


def describe(
    name: str | Source,
    data_dir: str | None = None,
    *,
    download: bool = False,
    eval_only: bool = False,
) -> Description:
    """Returns the description of a data set without loading it.

    Args:
      name: a name in SOURCES, one of TFDS, or that of a kind in KINDS with its path; or a Source.
      data_dir: folder of prepared data sets; None for TFDS' own.
      download: whether TFDS may fetch a set of which nothing is known before it is there.
      eval_only: whether the training part need not be there; its size is then nominal.
    Raises: UserError if there is no such data set, or nothing is known of it yet.
    """
    if isinstance(name, Source):
        return name.description
    return _row(name).describe(_canonical(name), Reading(data_dir, download, eval_only=eval_only))


def load(
    name: str | Source,
    data_dir: str | None = None,
    *,
    download: bool = False,
    max_bad_records: int = 0,
    eval_only: bool = False,
) -> Source:
    """Returns a data set, ready to make batches of.

    Args:
      name, data_dir, eval_only: as for `describe`.
      download: whether TFDS may fetch and prepare what is missing.
      max_bad_records: number of unreadable examples that are left out, and named, before an error.
    Raises: UserError where there is none, with the remedy.
    """
    if isinstance(name, Source):
        return name
    return _row(name).load(
        _canonical(name), Reading(data_dir, download, max_bad_records, eval_only)
    )
