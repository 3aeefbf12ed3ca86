"""Examples in their order, read a batch at a time, and recognised when they are read again.

    order = Order()
    first = Stream(batches, order=order, bounds=(0.0, 1.0)).take(128)    # number, images, labels
    again = Stream(batches, order=order, bounds=(0.0, 1.0)).take(128)    # refused where it differs

An evaluation reads its data once for the clean accuracy and once more for each attack, and puts
together what it found of each example by its number.  Data in a new order at each reading would
give a number that belongs to no image, so the digests of the first reading are kept.
"""

import itertools
import zlib

import numpy as np

from sat_tf.errors import UserError
from sat_tf.evaluation.batches import checked, checked_form, reading

_REMEDY = (
    "build the data set with shuffle=False (or reshuffle_each_iteration=False) and without random "
    "changes of the images, or give arrays"
)


class Order:
    """What was read the first time, to recognise a reading that differs from it.

    Attributes:
      digests: uint32 [examples], a checksum of each example's image and label.
      complete: whether these are all examples there are.
    """

    def __init__(self, digests=None, complete=False):
        self.digests = np.zeros(0, np.uint32) if digests is None else digests
        self.complete = complete

    def enter(self, number, images, labels):
        """Takes examples, the first of which has this number, as they were read.

        Raises: UserError where others have been read under these numbers, or none.
        """
        read = np.array(
            [zlib.crc32(label, zlib.crc32(image)) for image, label in zip(images, labels)],
            np.uint32,
        )
        known = self.digests[number : number + len(read)]
        others = np.flatnonzero(known != read[: len(known)])
        if len(others):
            raise UserError(
                f"data: example {number + others[0]} is another one when the data is read again, "
                f"as each attack does; {_REMEDY}"
            )
        if len(read) > len(known):
            if self.complete:
                self._refuse("more")
            self.digests = np.concatenate([self.digests, read[len(known) :]])

    def end(self, count):
        """Says that a reading has come to its end after so many examples."""
        if count < len(self.digests):
            self._refuse(f"only {count}")

    def _refuse(self, found):
        raise UserError(
            f"data: {len(self.digests)} examples were read at first, and {found} when the data is "
            f"read again, as each attack does; {_REMEDY}"
        )


class Stream:
    """Examples in their order, read a batch at a time.

    Args:
      batches: iterable of (images, labels) or (images, labels, mask) as for `checked_form`, from
        the beginning each time; batches may differ in their sizes.
      wanted: bool [examples], which of them to give; None means all.
      taken: how many of these to leave out, because they were taken before.
      order: the Order that the examples have to come in; None for no earlier reading.
      bounds: see `checked`.

    Attributes:
      batch_size: of the first batch, 1 where there is none.
      taken: how many were given, with those taken before.
    """

    def __init__(self, batches, wanted=None, taken=0, *, order=None, bounds=None):
        self._batches, self._bounds = reading(batches), bounds
        self._order = Order() if order is None else order
        first = list(itertools.islice(self._batches, 1))
        self._batches = itertools.chain(first, self._batches)
        self.batch_size = max([1, *(len(checked_form(batch)[0]) for batch in first)])
        self._rows = self._read(wanted, taken)
        self._buffer = {}
        self.taken = taken

    def take(self, count):
        """Returns up to `count` rows of number, images and labels; {} where there are no more."""
        while length(self._buffer) < count:
            more = next(self._rows, None)
            if more is None:
                break
            self._buffer = joined(self._buffer, more)
        if not count or not self._buffer:
            return {}
        given, self._buffer = divided(self._buffer, np.arange(length(self._buffer)) < count)
        self.taken += length(given)
        return given

    def _read(self, wanted, left_over):
        number, shape = 0, None
        for batch in self._batches:
            images, labels = checked(batch, self._bounds)
            if shape not in (None, images.shape[1:]):
                raise UserError(
                    f"images have shapes {shape} and {images.shape[1:]}: give all in one size"
                )
            shape = images.shape[1:]
            self._order.enter(number, images, labels)
            numbers = np.arange(number, number + len(images))
            number += len(images)
            chosen = np.ones(len(images), bool) if wanted is None else wanted[numbers]
            rows = {"number": numbers[chosen], "images": images[chosen], "labels": labels[chosen]}
            skipped = min(left_over, len(rows["number"]))
            left_over -= skipped
            rows = {name: value[skipped:] for name, value in rows.items()}
            if len(rows["number"]):
                yield rows
        self._order.end(number)


def length(rows):
    """Returns the number of rows, {name: array}, of which {} has none."""
    return len(next(iter(rows.values()))) if rows else 0


def joined(rows, more):
    """Returns rows and after them others, {name: array} of the same names, or {}."""
    if not rows or not more:
        return rows or more
    return {name: np.concatenate([value, more[name]]) for name, value in rows.items()}


def divided(rows, condition):
    """Returns the rows where the condition holds and the others, {} for none."""
    return tuple(
        {name: value[mask] for name, value in rows.items()} if mask.any() else {}
        for mask in (condition, ~condition)
    )
