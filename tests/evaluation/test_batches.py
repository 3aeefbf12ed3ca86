"""Data of every kind gives the same batches; what would give a wrong number is refused by name."""

import greys
import numpy as np
import pytest
import tensorflow as tf

from sat_tf.errors import UserError
from sat_tf.evaluation import Evaluator
from sat_tf.evaluation.batches import batches_of, check_classes, checked, reading

pytestmark = pytest.mark.smoke

IMAGES, LABELS = greys.IMAGES, greys.LABELS
DATA_SET = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
BATCHES = [(IMAGES[:4], LABELS[:4]), (IMAGES[4:], LABELS[4:])]


class Sequence(tf.keras.utils.Sequence):
    """A Keras Sequence that would be another one after each epoch."""

    def __len__(self):
        return 2

    def __getitem__(self, number):
        return BATCHES[number]

    def on_epoch_end(self):
        raise AssertionError("nobody trains on it")


class Anew:
    def __iter__(self):
        return iter(BATCHES)


KINDS = {
    "arrays": (IMAGES, LABELS),
    "list of arrays": [IMAGES, LABELS],
    "tensors": (tf.constant(IMAGES), tf.constant(LABELS)),
    "float64 images": (IMAGES.astype("float64"), LABELS),
    "int64 column": (IMAGES, LABELS.astype("int64")[:, None]),
    "uint8 labels": (IMAGES, LABELS.astype("uint8")),
    "mask": (np.tile(IMAGES, [2, 1, 1, 1]), np.tile(LABELS, 2), np.arange(20) < 10),
    "padded batches": greys.padded_batches(),
    "batches": DATA_SET.batch(4),
    "single examples": DATA_SET,
    "single examples, column": DATA_SET.map(lambda x, y: (x, y[None])),
    "single examples, mask": DATA_SET.map(lambda x, y: (x, y, True)),
    "unknown rank": DATA_SET.map(lambda x, y: (tf.numpy_function(lambda z: z, [x], x.dtype), y)),
    "Sequence": Sequence(),
    "list of batches": BATCHES,
    "tuple of batches": tuple(BATCHES),
    "read anew": Anew(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_every_kind_is_read_in_its_order(kind):
    batches = batches_of(KINDS[kind], batch_size=3)
    for _ in range(2):  # as often as somebody wants to
        found = [checked(batch, (0.0, 1.0)) for batch in reading(batches)]
        images, labels = (np.concatenate(column) for column in zip(*found))
        assert images.dtype == np.float32 and labels.dtype == np.int32
        np.testing.assert_array_equal(images, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)


def test_arrays_and_single_examples_get_the_batch_size_and_batches_keep_theirs():
    def sizes(data):
        return [len(batch[0]) for batch in reading(batches_of(data, batch_size=3))]

    assert sizes((IMAGES, LABELS)) == sizes(DATA_SET) == [3, 3, 3, 1]
    assert sizes(DATA_SET.batch(7)) == [7, 3]


ONE_HOT = np.eye(2, dtype="float32")[LABELS]
REFUSED = {
    # What is no data, or cannot be read again
    "no labels": (IMAGES, r"data: a ndarray; give \(images, labels\)"),
    "one array": ((IMAGES,), "a tuple of 1; give"),
    "four arrays": ((IMAGES, LABELS, LABELS, LABELS), "a tuple of 4; give"),
    "a path": ("photos/test", "data: 'photos/test'; give"),
    "nothing": (None, "data: a NoneType; give"),
    "a dict": ({"image": IMAGES, "label": LABELS}, "a dict of 'image', 'label'; give"),
    "dicts": (DATA_SET.map(lambda x, y: {"image": x, "label": y}), "a dict of 'image', 'label'"),
    "images alone": (DATA_SET.map(lambda x, y: x), "its elements are a TensorSpec"),
    "ragged": (
        DATA_SET.batch(2).map(lambda x, y: (tf.RaggedTensor.from_tensor(x), y)),
        "its elements are of RaggedTensorSpec, TensorSpec; give tensors",
    ),
    "a generator": ((batch for batch in BATCHES), "a generator can be read only once.*give arrays"),
    "an iterator": (iter(DATA_SET.batch(2)), "can be read only once"),
    "a function": (lambda: iter(BATCHES), "data: a function; give"),
    "without an end": (DATA_SET.batch(2).repeat(), r"no end; leave out repeat\(\)"),
    "single, without an end": (DATA_SET.repeat(), r"no end; leave out repeat\(\)"),
    # Images
    "uint8": ((IMAGES.astype("uint8"), LABELS), "images are uint8: give .*images / 255"),
    "uint8 in a data set": (DATA_SET.map(lambda x, y: (tf.cast(x, tf.uint8), y)), "are uint8"),
    "255": ((255 * IMAGES, LABELS), r"within \(0, 1\); found 0 to 140.2: scale them"),
    "-1": ((2 * IMAGES - 1, LABELS), r"within \(0, 1\); found -1 to 0.1"),
    "NaN": ((IMAGES * np.nan, LABELS), r"within \(0, 1\); found nan"),
    "flat": ((IMAGES.reshape(10, -1), LABELS), r"images have shape \(10, 12\): give \[batch"),
    "one image": ((IMAGES[0], LABELS[0]), r"images have shape \(2, 2, 3\): give \[batch"),
    # Labels
    "float": ((IMAGES, LABELS.astype("float32")), "labels are float32: give integer class"),
    "bool": ((IMAGES, LABELS > 0), "labels are bool: give integer class"),
    "one-hot": ((IMAGES, ONE_HOT), r"shape \(10, 2\), as one-hot ones.*labels.argmax\(-1\)"),
    "one-hot integers": ((IMAGES, ONE_HOT.astype("int32")), "as one-hot ones"),
    "one-hot in a data set": (DATA_SET.batch(4).map(lambda x, y: (x, tf.one_hot(y, 2))), "one-hot"),
    "a single one": ((IMAGES, LABELS[:1]), r"labels have shape \(1,\) for 10 images"),
    "a scalar": ((IMAGES, np.int32(1)), r"labels have shape \(\) for 10 images"),
    "too many": ((IMAGES, np.tile(LABELS, 2)), r"labels have shape \(20,\) for 10 images"),
    "of three": ((IMAGES, LABELS[:, None, None]), r"labels have shape \(10, 1, 1\)"),
    "negative": ((IMAGES, LABELS - 1), "labels are from -1 to 0: give class indices from 0"),
    "huge": ((IMAGES, LABELS.astype("int64") + 2**40), "labels are from 1099511627776 to"),
    # The mask
    "sample weights": (
        (IMAGES, LABELS, np.ones(10, "float32")),
        "third .* float32.*bool mask.*wei",
    ),
    "integer mask": (
        DATA_SET.batch(5).map(lambda x, y: (x, y, tf.ones_like(y))),
        "is int32 .*bool",
    ),
    "short mask": ((IMAGES, LABELS, np.ones(9, bool)), r"is bool \(9,\) for 10 images"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_give_a_wrong_number_is_refused_by_name(what):
    data, message = REFUSED[what]
    with pytest.raises(UserError, match=message) as caught:
        for batch in reading(batches_of(data, batch_size=4)):
            checked(batch, (0.0, 1.0))
    assert "\n" not in str(caught.value)


def test_labels_are_classes_of_the_logits():
    check_classes(LABELS, 2)
    with pytest.raises(UserError, match=r"labels: 2 is no class of 2 .*, as labels - 1"):
        check_classes(LABELS + 1, 2)
    with pytest.raises(UserError, match="labels: 11 is no class of 2 logits"):
        check_classes(LABELS + 10, 2)
    late = np.where(np.arange(10) == 9, 2, LABELS)  # found wherever it is, also by the engine
    with pytest.raises(UserError, match="labels: 2 is no class of 2 logits"):
        Evaluator(greys.threshold, {}, seed=0)(batches_of((IMAGES, late), batch_size=4))
