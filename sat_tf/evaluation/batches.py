"""Data of every kind as batches that can be read again, and what a batch has to be.

    batches = batches_of((images, labels), batch_size=128)      # arrays, data sets, sequences
    for batch in reading(batches):
        images, labels = checked(batch, bounds=(0.0, 1.0))      # without what a mask leaves out

What can be told apart is put right: labels [n, 1] and single examples.  Everything else that would
give a wrong number is refused by its name.
"""

import numpy as np
import tensorflow as tf

from sat_tf.errors import UserError

_SLACK = 1e-3  # of the pixel range, as `attacks.images_within` allows
_KINDS = "give (images, labels), a tf.data.Dataset of these, a Keras Sequence, or a list of batches"


def batches_of(data, batch_size):
    """Returns what gives the batches of some data each time that it is iterated over.

    Args:
      data: arrays or tensors (images, labels) or (images, labels, mask); a tf.data.Dataset of such
        batches or of single examples; anything with a length and numbered batches, as a Keras
        Sequence has, which are taken in that order; or another iterable of batches that begins
        anew each time.
      batch_size: of arrays and single examples.  Batches stay as they are.
    Raises: UserError for anything else, for data that can be read only once and for data without
      an end.
    """
    if isinstance(data, tf.data.Dataset):
        return _of_dataset(data, batch_size)
    if isinstance(data, (tuple, list)) and len(data) and hasattr(data[0], "shape"):
        return _Slices(checked_form(tuple(data)), batch_size)
    if isinstance(data, (str, bytes, dict)) or hasattr(data, "shape"):
        raise UserError(f"data: {_described(data)}; {_KINDS}")
    if isinstance(data, tf.distribute.DistributedDataset):
        raise UserError(
            "data: a distributed data set; give the data set itself, and `strategy` for where the "
            "evaluation is to run"
        )
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return _Numbered(data)
    if not hasattr(data, "__iter__"):
        raise UserError(f"data: {_described(data)}; {_KINDS}")
    reading(data)
    return data


def _of_dataset(data, batch_size):
    _check_end(data)
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        raise UserError(
            f"data: its elements are {_described(spec)}; give (images, labels) or (images, labels, "
            "mask), as by data.map"
        )
    if not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise UserError(
            f"data: its elements are of {', '.join(type(part).__name__ for part in spec)}; give "
            "tensors of images and of labels"
        )
    rank = spec[0].shape.rank
    if rank is None:
        rank = next((np.ndim(images) for images, *_ in reading(data)), 4)
    return data.batch(batch_size) if rank == 3 else data


class _Slices:
    """Arrays of all examples, in batches; `examples` says how many there are without padding."""

    def __init__(self, arrays, batch_size):
        self._arrays, self._size = arrays, batch_size
        self.examples = int(arrays[-1].sum())

    def __iter__(self):
        for start in range(0, len(self._arrays[0]), self._size):
            yield tuple(array[start : start + self._size] for array in self._arrays)


class _Numbered:
    """Batches by their numbers, from 0 on, whatever order their owner would give them in."""

    def __init__(self, owner):
        self._owner = owner

    def __iter__(self):
        return (self._owner[number] for number in range(len(self._owner)))


def reading(batches):
    """Returns an iterator over the batches from their beginning, of NumPy arrays as far as known.

    Args:
      batches: a tf.data.Dataset, or any iterable that begins anew each time.
    Raises: UserError for a data set without an end, and for what can be read only once.
    """
    if isinstance(batches, tf.data.Dataset):
        _check_end(batches)
        return batches.as_numpy_iterator()
    iterator = iter(batches)
    if iterator is batches:
        raise UserError(
            f"data: a {type(batches).__name__} can be read only once, and every attack reads it "
            "again; give arrays, a tf.data.Dataset (as by from_generator) or a list of batches"
        )
    return iterator


def _check_end(dataset):
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError(
            "data: the data set has no end; leave out repeat(), or cut it by take(count)"
        )


def checked_form(batch):
    """Returns images, labels and mask of a batch as NumPy arrays, after a check of their forms.

    Args:
      batch: (images floating [n, height, width, channels], labels integer [n] or [n, 1]) or these
        and a mask, bool [n].
    Returns: images as they are, labels [n], mask bool [n].
    Raises: UserError for anything else.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise UserError(
            f"data: a batch is {_described(batch)}; give (images, labels) or (images, labels, mask)"
        )
    images, labels, *mask = map(np.asarray, batch)
    if images.ndim != 4:
        raise UserError(f"images have shape {images.shape}: give [batch, height, width, channels]")
    if not tf.as_dtype(images.dtype).is_floating:
        raise UserError(
            f"images are {images.dtype.name}: give floating images in the range of `bounds`, as "
            "images / 255 has them in [0, 1]"
        )
    mask = _checked_mask(mask[0], images) if mask else np.ones(len(images), bool)
    return images, _checked_labels(labels, images), mask


def _checked_labels(labels, images):
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise UserError(
            f"labels have shape {labels.shape}, as one-hot ones: give class indices [batch], as "
            "labels.argmax(-1)"
        )
    if not tf.as_dtype(labels.dtype).is_integer:
        raise UserError(
            f"labels are {labels.dtype.name}: give integer class indices, as labels.astype('int32')"
        )
    if labels.shape not in ((len(images),), (len(images), 1)):
        raise UserError(
            f"labels have shape {labels.shape} for {len(images)} images: give one class index for "
            "each, [batch]"
        )
    return labels.reshape([len(images)])


def _checked_mask(mask, images):
    if mask.dtype != bool or mask.shape != (len(images),):
        raise UserError(
            f"the third component of the data is {mask.dtype.name} {mask.shape} for {len(images)} "
            "images: give a bool mask [batch], False where an example is padding, or leave it "
            "out; sample weights have no part in an evaluation"
        )
    return mask


def checked(batch, bounds=None):
    """Returns the examples of a batch that its mask leaves in, after a check of their values.

    Args:
      batch: as for `checked_form`.
      bounds: (low, high) that pixels are to be in, or None for any.
    Returns: images float32 [n, height, width, channels] and labels int32 [n].
    Raises: UserError as `checked_form`, for pixels out of bounds and for negative labels.
    """
    images, labels, mask = checked_form(batch)
    images, labels = np.ascontiguousarray(images[mask].astype(np.float32)), labels[mask]
    if not len(images):
        return images, labels.astype(np.int32)
    if bounds is not None:
        low, high = bounds
        slack = _SLACK * (high - low)
        least, most = images.min(), images.max()
        if not (least >= low - slack and most <= high + slack):  # so that NaN is refused as well
            raise UserError(
                f"images must be within ({low:g}, {high:g}); found {least:.4g} to {most:.4g}: "
                "scale them to that range, or give theirs as `bounds`"
            )
    if labels.min() < 0 or labels.max() > np.iinfo(np.int32).max:
        raise UserError(
            f"labels are from {labels.min()} to {labels.max()}: give class indices from 0 to "
            "num_classes - 1"
        )
    return images, labels.astype(np.int32)


def check_classes(labels, num_classes):
    """Raises UserError for labels, integer [n], that no logit stands for."""
    highest = int(np.max(labels, initial=-1))
    if highest >= num_classes:
        raise UserError(
            f"labels: {highest} is no class of {num_classes} logits; give class indices from 0 to "
            f"{num_classes - 1}" + (", as labels - 1" if highest == num_classes else "")
        )


def _described(batch):
    if isinstance(batch, dict):
        return f"a dict of {', '.join(map(repr, batch))}"
    if isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__} of {len(batch)}"
    return repr(batch) if isinstance(batch, (str, bytes)) else f"a {type(batch).__name__}"
