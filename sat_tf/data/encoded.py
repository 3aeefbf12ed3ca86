"""A part of a data set that lies on disk as encoded images, read one by one in any order.

Reading at random costs an open file an image.  In return an epoch is shuffled over all of it,
whatever the order on disk; a resumed run skips nothing; and one bad image costs one image.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from sat_tf.data import decoding
from sat_tf.data.description import BadExamples
from sat_tf.errors import one_line


def attempt(function, inputs, otherwise):
    """Returns function(*inputs), or `otherwise` where it fails; for graphs, which have no `try`.

    Args:
      function: tensors -> a tuple of tensors, of TensorFlow ops.
      inputs: its arguments.
      otherwise: tensors of the same shapes and dtypes as the result.
    """
    results = tf.data.Dataset.from_tensors(tuple(inputs)).map(function).ignore_errors()
    either = results.concatenate(tf.data.Dataset.from_tensors(tuple(otherwise))).take(1)
    return either.get_single_element()


@dataclasses.dataclass(frozen=True)
class Encoded:
    """One part of a data set, on disk.

    Attributes:
      size: number of examples.
      read: index int32 -> (encoded image string, label int32); TensorFlow ops, which fail where
        the example cannot be read.
      where: index -> the example's place in words a user can look up.
      num_classes: labels outside 0 .. num_classes - 1 make an example bad.
      bad_examples: where bad examples are reported.
    """

    size: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    where: Callable[[int], str]
    num_classes: int
    bad_examples: BadExamples

    def prepared(self, batches, recipe) -> tf.data.Dataset:
        """As `in_memory.Examples.prepared`; an example that is not readable is black, class 0."""
        batch_size = batches.element_spec[-1].shape[0]
        nothing = (tf.zeros([recipe.image_size, recipe.image_size, 3]), 0, False)

        def example(step, position, index):
            def load(step, position, index):
                image_bytes, label = self._read_checked(index)
                return recipe.of_bytes(image_bytes, step, position), label, True

            image, label, readable = attempt(load, (step, position, index), nothing)
            return image, label, readable, index

        def as_vectors(step, positions, indices):
            return tf.fill(tf.shape(indices), step), positions, indices

        examples = (
            batches.map(as_vectors)
            .unbatch()
            .map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        )
        return examples.batch(batch_size, drop_remainder=True).map(self._report)

    def _read_checked(self, index):
        image_bytes, label = self.read(index)
        with tf.control_dependencies(
            [tf.debugging.Assert((label >= 0) & (label < self.num_classes), ["label"])]
        ):
            return tf.identity(image_bytes), label

    def _report(self, images, labels, readable, indices):
        """Passes the batch on; has bad examples counted, which leaves the graph only for them."""
        bad = tf.boolean_mask(indices, ~readable)
        report = tf.cond(
            tf.size(bad) > 0,
            lambda: tf.numpy_function(self._diagnose, [bad], tf.bool),
            lambda: True,
        )
        with tf.control_dependencies([report]):
            return tf.identity(images), labels, readable

    def _diagnose(self, indices):
        with tf.device("/CPU:0"):
            for index in () if self.bad_examples.failed else indices:
                self.bad_examples.report(self.where(int(index)), self._reason(index))
        return True

    def _reason(self, index):
        """Reads a bad example once more, to say what is wrong with it."""
        try:
            image_bytes, label = self.read(tf.constant(index))
        except tf.errors.OpError as error:
            return f"cannot be read ({one_line(error)})"
        if not 0 <= label < self.num_classes:
            return f"its label stands for class {label}, of classes 0 to {self.num_classes - 1}"
        problem = decoding.problem(image_bytes.numpy())
        return problem or "could not be read the first time, and can now"


def cover_unreadable(images, labels, readable, bad_examples):
    """Returns a training batch in which a readable example stands in for each that is not.

    A batch without one is reported to `bad_examples` as a failure.
    """

    def refuse():
        bad_examples.fail(
            "none of the examples of a batch can be read; mend them, or give a larger --batch_size"
        )

    def first_good():
        return tf.where(readable)[0, 0]

    good = tf.cond(
        tf.reduce_any(readable),
        first_good,
        lambda: tf.ensure_shape(tf.numpy_function(refuse, [], tf.int64), []),
    )
    own = tf.range(tf.size(readable, tf.int64), dtype=tf.int64)
    places = tf.where(readable, own, good)
    return tf.gather(images, places), tf.gather(labels, places)
