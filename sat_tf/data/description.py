"""What is known of a data set before any pixel is read, and the data set once it is loaded."""

import contextlib
import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from sat_tf.errors import UnreadableData


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of a data set before any pixel is read.

    Attributes:
      name: the name it was asked for by.
      num_classes: number of classes; labels are 0 .. num_classes - 1.
      image_size: side in pixels of its square images; None where sizes vary, and then a network
        gets its own.
      train_examples, eval_examples: sizes of the two parts.
      class_names: one name a class in label order, or () where there are none.
      crop_padding: the border the evaluation crop takes away, in pixels of an image that is
        `image_size + crop_padding` wide; 0 keeps the whole central square.
      flip: whether a mirrored image keeps its label, so that training may mirror it.
      eval_lacks: the classes, by name, that are known to have no image in the evaluation part.
    """

    name: str
    num_classes: int
    image_size: int | None
    train_examples: int
    eval_examples: int
    class_names: tuple[str, ...]
    crop_padding: int
    flip: bool
    eval_lacks: tuple[str, ...] = ()


class Reading(NamedTuple):
    """How a data set may be read.

    `data_dir` is the folder of prepared data sets, None for TFDS' own; with `download` a missing
    one is fetched; up to `max_bad_records` unreadable examples are left out; with `eval_only` the
    training part is not read, and need not be there.
    """

    data_dir: str | None = None
    download: bool = False
    max_bad_records: int = 0
    eval_only: bool = False


class BadExamples:
    """The examples of one source that cannot be read: named when they are met, and counted.

    A map function of tf.data cannot raise what a user is to see: it reports here, and `check`
    gives the error to whoever was reading.  After one error nothing more is reported.
    """

    def __init__(self, source_name: str, allowed: int):
        self._source_name = source_name
        self._allowed = allowed
        self._found = {}
        self._failure = None

    def report(self, where: str, reason: str):
        """Counts one, and says so.  Raises: UnreadableData once there are more than allowed."""
        if where in self._found or self._failure:
            return
        self._found[where] = reason
        if len(self._found) > self._allowed:
            self.fail(
                f"{where}: {reason}; mend it, or give --max_bad_records={len(self._found)} or "
                "more to leave such examples out"
            )
        print(
            f"left out ({len(self._found)} of at most {self._allowed}): {where}: {reason}",
            flush=True,
        )

    def fail(self, problem: str):
        """Raises UnreadableData, here and where `check` is."""
        self._failure = self._failure or UnreadableData(f"--dataset={self._source_name}: {problem}")
        raise self._failure

    @property
    def failed(self) -> bool:
        return self._failure is not None

    @contextlib.contextmanager
    def check(self):
        """Turns tf.data's error about a bad example into the UserError that was reported."""
        try:
            yield
        except tf.errors.OpError as error:
            if self._failure is None:
                raise
            raise self._failure from error


class Source(NamedTuple):
    """A loaded data set.

    `train` and `eval` are `in_memory.Examples` or `encoded.Encoded`: each has `size` and
    `prepared`. `train` is None where only `eval` was asked for.
    """

    description: Description
    train: Any
    eval: Any
    bad_examples: BadExamples | None = None

    def reading(self) -> contextlib.AbstractContextManager:
        """Returns a context that turns errors about bad examples into UserErrors."""
        return self.bad_examples.check() if self.bad_examples else contextlib.nullcontext()
