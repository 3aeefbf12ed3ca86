"""Image-classification sets of TensorFlow Datasets, prepared on disk.

TFDS finds and describes them; the records are read by `record_files`, in an order of our own.
"""

import difflib
import functools
import os

import numpy as np
import tensorflow as tf

from sat_tf.data.description import BadExamples, Description, Source
from sat_tf.data.encoded import Encoded
from sat_tf.data.record_files import RecordFiles
from sat_tf.errors import UserError, one_line
from sat_tf.files import plain

# What is known of a set before it is there: classes, side (None: varied), training and evaluation
# examples.  Recipes need it to count steps.
KNOWN = {
    "cifar10": (10, 32, 50_000, 10_000),
    "cifar100": (100, 32, 50_000, 10_000),
    "svhn_cropped": (10, 32, 73_257, 26_032),
    "imagenet2012": (1000, None, 1_281_167, 50_000),
}
_NOT_FLIPPED = ("svhn", "mnist", "emnist", "kmnist", "omniglot")  # writing has a left and a right
_SPLITS = ("test", "validation")  # the evaluation part: the first of these that there is
_MANUAL = ("imagenet2012",)  # these archives have to be fetched by hand, under a licence


def _plain(name):
    """Returns the name without a configuration or a version."""
    return name.partition("/")[0].partition(":")[0]


@functools.lru_cache(maxsize=8)
def _builder(name, data_dir):
    """Returns TFDS' builder; UserError for a name it does not know."""
    import tensorflow_datasets as tfds  # takes seconds; only these sets need it

    try:
        return tfds.builder(name, data_dir=data_dir and plain(os.path.expanduser(data_dir)))
    except tfds.core.registered.DatasetNotFoundError as error:
        near = difflib.get_close_matches(name, {*KNOWN, "digits", *tfds.list_builders()})
        meant = f"did you mean {' or '.join(near)}? Known are" if near else "known are"
        raise UserError(
            f"--dataset={name}: no such data set; {meant} digits, {', '.join(KNOWN)}, the other "
            "image-classification sets of TFDS, tfrecord:PATH and folder:PATH"
        ) from error
    except (ValueError, AssertionError, RuntimeError, OSError, ImportError) as error:
        raise UserError(
            f"--dataset={name}: TFDS has no such set or version: {one_line(error)}; "
            "leave the version out, or give another name"
        ) from error


def _evaluation_split(name, splits):
    found = [split for split in _SPLITS if split in splits]
    if "train" not in splits or not found:
        raise UserError(
            f"--dataset={name}: its parts are {', '.join(splits) or 'none'}; give a "
            f"set that has train, and {' or '.join(_SPLITS)}"
        )
    return found[0]


def _keys(name, features):
    """Returns the names of the image and the label; UserError where it is no classification set."""
    import tensorflow_datasets as tfds

    features = dict(features.items())
    keys = [
        next((key for key in wanted if isinstance(features.get(key), kind)), None)
        for wanted, kind in (
            (("image", "images"), tfds.features.Image),
            (("label", "labels"), tfds.features.ClassLabel),
        )
    ]
    if None in keys or np.dtype(features[keys[0]].np_dtype) != np.uint8:
        raise UserError(
            f"--dataset={name}: not for image classification: its features are "
            f"{', '.join(sorted(features))}; give a set with an image of 8 bits and a label"
        )
    return keys


def describe(name: str, reading) -> Description:
    """Returns the description of a TFDS set: of what is prepared, or else of what is known of it.

    Raises: UserError for unknown names, and for sets of which nothing is known before they are
      prepared.
    """
    builder = _prepared(name, reading.data_dir)
    if builder is None and _plain(name) in KNOWN:
        num_classes, side, train_examples, eval_examples = KNOWN[_plain(name)]
        class_names = ()
    else:
        builder = builder or _obtain(name, reading)
        splits = builder.info.splits
        image_key, label_key = _keys(name, builder.info.features)
        labels = builder.info.features[label_key]
        num_classes, side = labels.num_classes, _side(builder.info.features[image_key].shape)
        train_examples = splits["train"].num_examples
        eval_examples = splits[_evaluation_split(name, splits)].num_examples
        class_names = tuple(labels.names)
    return Description(
        name=name,
        num_classes=num_classes,
        image_size=side,
        train_examples=train_examples,
        eval_examples=eval_examples,
        class_names=class_names,
        crop_padding=32 if side is None else 0,
        flip=not _plain(name).startswith(_NOT_FLIPPED),
    )


def _side(shape):
    return shape[0] if shape[0] is not None and shape[0] == shape[1] else None


def _prepared(name, data_dir):
    """Returns the builder of a set that is on disk, or None."""
    builder = _builder(name, data_dir) if _may_be_there(name, data_dir) else None
    return builder if builder is not None and builder.is_prepared() else None


def _may_be_there(name, data_dir):
    """Whether asking TFDS is needed: it is slow to import, and the known names may not be there."""
    folder = os.path.join(os.path.expanduser(data_dir or "~/tensorflow_datasets"), _plain(name))
    return _plain(name) not in KNOWN or tf.io.gfile.exists(folder)


def _missing(name, data_dir):
    place = f", data_dir={data_dir!r}" if data_dir else ""
    manual = (
        (
            f" (first put its archives, which need a licence, into "
            f"{data_dir or '~/tensorflow_datasets'}/downloads/manual)"
        )
        if (_plain(name) in _MANUAL)
        else ""
    )
    return UserError(
        f"--dataset={name}: not prepared under --data_dir={data_dir or '~/tensorflow_datasets'}; "
        f'give --download, or run: python -c "import tensorflow_datasets as tfds; '
        f'tfds.builder({name!r}{place}).download_and_prepare()"{manual}'
    )


def _obtain(name, reading):
    """Returns the builder of a set that is not there yet, prepared, if that is allowed."""
    builder = _builder(name, reading.data_dir)
    _keys(name, builder.info.features)  # before anything is fetched for nothing
    if not reading.download:
        raise _missing(name, reading.data_dir)
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS and the network have no common class of error
        raise UserError(f"--download: {name} could not be prepared: {one_line(error)}") from error
    return builder


def load(name: str, reading) -> Source:
    """Returns a TFDS set.

    Raises: UserError where it is not prepared (with the command that does it), or cannot be.
    """
    builder = _prepared(name, reading.data_dir) or _obtain(name, reading)
    if builder.info.file_format.value != "tfrecord":
        raise UserError(
            f"--dataset={name}: prepared as {builder.info.file_format.value}, which is "
            "not read here; prepare it with file_format='tfrecord'"
        )
    bad_examples = BadExamples(name, reading.max_bad_records)
    splits = builder.info.splits
    parts = [
        None
        if split == "train" and reading.eval_only
        else _part(name, builder.info, splits[split], bad_examples)
        for split in ("train", _evaluation_split(name, splits))
    ]
    return Source(describe(name, reading), *parts, bad_examples)


def _part(name, info, split, bad_examples):
    import tensorflow_datasets as tfds

    image_key, label_key = _keys(name, info.features)
    paths = [os.fspath(path) for path in split.filepaths]
    try:
        files = RecordFiles(paths)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"--dataset={name}: {one_line(error)}; prepare it again") from error
    as_stored = {image_key: tfds.decode.SkipDecoding()}

    def read(index):
        example = info.features.deserialize_example(files.read(index), decoders=as_stored)
        return example[image_key], tf.cast(example[label_key], tf.int32)

    return Encoded(
        size=files.size,
        read=read,
        where=files.where,
        num_classes=info.features[label_key].num_classes,
        bad_examples=bad_examples,
    )
