"""What an attack is given beside images: labels, and a function whose results are logits.

    labels = checked_labels([3, 1], images, num_classes=10)    # int32 [batch]
    logits = logits_of(logits_fn, images)                      # floating [batch, num_classes]

Most wrong ones would not fail by themselves: they would broadcast, or be cut to fit, and give
numbers.  Whoever calls a `logits_fn` or takes labels asks here, so that all refuse alike: shapes
and dtypes when traced, values where they are at hand; in a graph they are asserted, which is lost
in what XLA compiles.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import TensorLike

from sat_tf.errors import UserError, one_line

_LARGEST = np.iinfo(np.int32).max


def class_indices(labels: TensorLike) -> tf.Tensor:
    """Returns labels as int32 [batch].

    Args:
      labels: integers [batch], or [batch, 1] as some data sets have them.
    Raises: UserError (a ValueError) for anything else, which would broadcast across the examples,
      and for values below 0 or beyond int32, where they are known.
    """
    try:
        labels = tf.convert_to_tensor(labels)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"labels do not make a tensor: give integer class indices [batch] ({one_line(error)})"
        ) from error
    if not labels.dtype.is_integer:
        raise UserError(
            f"labels are {labels.dtype.name} of shape {labels.shape}: give integer class indices "
            f"[batch], {_remedy(labels)}"
        )
    if labels.shape.rank == 2 and labels.shape[1] == 1:
        labels = tf.squeeze(labels, 1)
    if labels.shape.rank not in (1, None):
        raise UserError(
            f"labels have shape {labels.shape}: give class indices [batch], {_remedy(labels)}"
        )
    lowest, highest = _range(labels)
    if lowest < 0 or highest > _LARGEST:
        raise UserError(
            f"labels are from {lowest} to {highest}: give class indices from 0 to the number of "
            "classes - 1, and leave out examples without a class"
        )
    labels = tf.cast(labels, tf.int32)
    return labels if labels.shape.rank else tf.ensure_shape(labels, [None])


def checked_labels(
    labels: TensorLike, images: TensorLike, num_classes: int | tf.Tensor | None = None
) -> tf.Tensor:
    """Returns labels as int32 [batch], one for each image.

    Args:
      labels: integers [batch] or [batch, 1].
      images: [batch, ...]; only their number is used.
      num_classes: how many logits there are, int or int32 scalar; or None, not to compare.
    Raises: UserError (a ValueError) for anything else, where it is known; in a graph, for a number
      or a value of labels not known when traced, tf.errors.InvalidArgumentError.
    """
    labels = class_indices(labels)
    batch = tf.TensorShape(images.shape)[:1]
    given, wanted = labels.shape[0], batch[0] if batch.rank else None
    fault = "give one class index for each image, labels [batch]"
    if None not in (given, wanted) and given != wanted:
        raise UserError(f"labels are {given} for {wanted} images: {fault}")
    if None in (given, wanted):
        count = tf.shape(images)[0]
        with _ahead(tf.debugging.assert_equal(tf.shape(labels)[0], count, f"labels: {fault}")):
            labels = tf.ensure_shape(labels, batch)
    if num_classes is not None:
        _check_classes(labels, num_classes)
    return labels


def checked_logits(logits: TensorLike, images: TensorLike, name: str = "logits_fn") -> tf.Tensor:
    """Returns what a network gave for images as a tensor [batch, num_classes], its dtype kept.

    Args:
      logits: floating [batch, num_classes], num_classes >= 2.
      images: [batch, ...]; only their number is used.
      name: of the network, for messages.
    Raises: UserError (a ValueError) for several outputs, a single one per example, further axes,
      another number of rows than images, and what is not floating; in a graph, for a shape not
      known when traced, tf.errors.InvalidArgumentError.
    """
    if isinstance(logits, (list, tuple, dict)):
        choice = next(iter(logits), "logits") if isinstance(logits, dict) else 0
        raise UserError(
            f"{name} returns a {type(logits).__name__} of {len(logits)} outputs: give the logits "
            f"alone, as tf.keras.Model(model.inputs, model.output[{choice!r}]) or lambda images: "
            f"model(images, training=False)[{choice!r}]"
        )
    try:
        logits = tf.convert_to_tensor(logits)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name} returns {type(logits).__name__}: give a tensor [batch, num_classes]"
        ) from error
    if not logits.dtype.is_floating:
        raise UserError(
            f"{name} returns {logits.dtype.name}: give floating logits [batch, num_classes], "
            "before they are rounded or their largest is taken"
        )
    if logits.shape.rank is None:
        with _ahead(tf.debugging.assert_equal(tf.rank(logits), 2, f"{name}: {_WANTED_LOGITS}")):
            logits = tf.ensure_shape(logits, [None, None])
    _check_axes(logits.shape, name)
    batch = tf.TensorShape(images.shape)[:1]
    given, wanted = logits.shape[0], batch[0] if batch.rank else None
    fault = "give one row of logits for each image"
    if None not in (given, wanted) and given != wanted:
        raise UserError(f"{name} returns shape {logits.shape} for {wanted} images: {fault}")
    if None in (given, wanted):
        count = tf.shape(images)[0]
        with _ahead(tf.debugging.assert_equal(tf.shape(logits)[0], count, f"{name}: {fault}")):
            logits = tf.ensure_shape(logits, [wanted, None])
    return logits


def logits_of(logits_fn: Callable, images: TensorLike) -> tf.Tensor:
    """Returns logits_fn(images), checked as in `checked_logits`.

    Raises: as `checked_logits`; UserError also where the function can only run eagerly, in a graph.
    """
    if isinstance(logits_fn, Watched):
        return logits_fn(images)
    try:
        logits = logits_fn(images)
    except _ONLY_EAGER as error:
        if tf.executing_eagerly() or not _is_about_tracing(error):
            raise
        raise UserError(
            f"logits_fn cannot be traced ({one_line(error)}): put NumPy code into "
            "tf.numpy_function and Python conditions on tensors into a tf.function, or call "
            "tf.config.run_functions_eagerly(True)"
        ) from error
    return checked_logits(logits, images)


class Watched:
    """A logits_fn, checked, that notes its number of classes and refuses labels of no class.

    Labels whose values are known are compared when it is called, so that an eager attack raises
    UserError at the first pass; for others `assert_labels` is to be called behind the loop.
    """

    def __init__(self, logits_fn, labels, noted=None):
        """Takes labels as `checked_labels` returns them; `noted` is for `through` alone."""
        self._logits_fn, self._labels = logits_fn, labels
        self._values_are_known = tf.get_static_value(labels) is not None
        self._noted = set() if noted is None else noted

    def __call__(self, images):
        logits = logits_of(self._logits_fn, images)
        count = logits.shape[-1]
        if count is None:
            _check_classes(self._labels, tf.shape(logits)[-1])
        elif count not in self._noted:
            self._noted.add(count)
            if self._values_are_known:
                _check_classes(self._labels, count)
        return logits

    @property
    def num_classes(self):
        """How many logits there were in the calls so far; None before, or if no shape told."""
        return min(self._noted, default=None)

    def through(self, transform):
        """Returns transform(logits_fn), watched in the same way; this one notes its classes."""
        return Watched(transform(self._logits_fn), self._labels, self._noted)

    def assert_labels(self):
        """Asserts in a graph, once and behind the loop, what `__call__` could not compare."""
        if not self._values_are_known and self._noted:
            _check_classes(self._labels, self.num_classes)


_ONLY_EAGER = (AttributeError, NotImplementedError, tf.errors.OperatorNotAllowedInGraphError)
_WANTED_LOGITS = "give logits [batch, num_classes]"


def _ahead(assertion):
    """Has what is made in this context fail by the assertion, which tells more; eagerly it did."""
    return tf.control_dependencies([] if assertion is None else [assertion])


def _is_about_tracing(error):
    return not isinstance(error, AttributeError) or "'numpy'" in str(error)


def _check_axes(shape, name):
    if shape.rank == 2 and (shape[-1] is None or shape[-1] >= 2):
        return
    if shape.rank == 1 or (shape.rank == 2 and shape[-1] == 1):
        column = "z" if shape.rank == 2 else "z[:, None]"
        raise UserError(
            f"{name} returns shape {shape}, one output: attacks need at least 2 classes; of one "
            f"logit z make them by tf.concat([tf.zeros_like({column}), {column}], -1); a sigmoid's "
            "probability p is no logit: leave the sigmoid out, or z = tf.math.log(p) - "
            "tf.math.log1p(-p)"
        )
    if shape.rank == 2:
        raise UserError(f"{name} returns shape {shape}: attacks need at least 2 classes")
    raise UserError(
        f"{name} returns shape {shape}: {_WANTED_LOGITS}, as tf.keras.layers.Flatten() makes of "
        "axes of size 1, and pooling of larger ones"
    )


def _remedy(labels):
    if labels.shape.rank == 0:
        return "one for each image"
    if (labels.shape.rank or 0) >= 2 and labels.shape[-1] != 1:
        return "as tf.argmax(labels, -1) makes of one-hot labels"
    return "as tf.cast(tf.reshape(labels, [-1]), tf.int32) makes of whole numbers"


def _range(labels):
    """Returns the lowest and highest label, ints; 0 and 0 where they are not known."""
    values = tf.get_static_value(labels)
    return (int(values.min()), int(values.max())) if values is not None and values.size else (0, 0)


def _check_classes(labels, num_classes):
    """Refuses labels below 0, and from `num_classes`, an int or an int32 scalar, on."""
    count = tf.get_static_value(num_classes)
    last = "num_classes - 1" if count is None else count - 1
    fault = f"give class indices from 0 to {last}; subtract 1 from labels that count from 1"
    if tf.get_static_value(labels) is None or count is None:
        tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < num_classes)),
            [
                f"labels: {fault}; found",
                tf.reduce_min(labels),
                tf.reduce_max(labels),
                "for num_classes =",
                num_classes,
            ],
        )
        return
    lowest, highest = _range(labels)
    if not 0 <= lowest <= highest < count:
        raise UserError(f"labels are from {lowest} to {highest} for {count} logits: {fault}")
