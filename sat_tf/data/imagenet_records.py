"""`tfrecord:PATH`: ImageNet in the release's layout, 1024 training and 128 validation shards.

    PATH/train-00000-of-01024 ... PATH/validation-00127-of-00128

(or in PATH/train/ and PATH/validation/).  Any number of shards will do, if it is complete.
Records are `tf.train.Example`s with `image/encoded` and `image/class/label`, which counts from 1.
"""

import functools
import os
import re

import tensorflow as tf
from google.protobuf.message import DecodeError

from sat_tf.data.description import BadExamples, Description, Source
from sat_tf.data.encoded import Encoded
from sat_tf.data.record_files import RecordFiles
from sat_tf.errors import UserError, one_line
from sat_tf.files import plain

NUM_CLASSES, TRAIN_EXAMPLES = 1000, 1_281_167
_IMAGE, _LABEL = "image/encoded", "image/class/label"
_FEATURES = {
    _IMAGE: tf.io.FixedLenFeature([], tf.string),
    _LABEL: tf.io.FixedLenFeature([], tf.int64),
}
_USUAL = {"train": 1024, "validation": 128}  # shards; any number will do
_SHARD = re.compile(r"-(\d+)-of-(\d+)$")


def _shards(path, split):
    """Returns the paths of a split's shards in order; UserError unless they are complete."""
    found = []
    for folder in (path, os.path.join(path, split)):
        if not found and tf.io.gfile.isdir(plain(folder)):
            found = sorted(
                os.path.join(folder, name)
                for name in tf.io.gfile.listdir(plain(folder))
                if name.startswith(f"{split}-") and _SHARD.search(name)
            )
    if not found:
        raise UserError(
            f"--dataset=tfrecord:{path}: no {split}-00000-of-{_USUAL[split]:05d} and so on "
            "there; give the folder of the shards, or of their folders train and validation"
        )
    numbers, totals = zip(*(map(int, _SHARD.search(name).groups()) for name in found))
    missing = sorted(set(range(totals[0])) - set(numbers))
    if len(set(totals)) > 1 or len(numbers) != len(set(numbers)) or missing:
        raise UserError(
            f"--dataset=tfrecord:{path}: {len(found)} {split} shards are there of "
            f"{' or '.join(map(str, sorted(set(totals))))}"
            + (f"; the first missing is number {missing[0]}" if missing else "")
            + "; complete them, or give a folder with one whole set"
        )
    return found


@functools.lru_cache(maxsize=8)
def _files(path, split):
    shards = _shards(path, split)
    try:
        return RecordFiles(shards)
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"--dataset=tfrecord:{path}: {one_line(error)}; prepare it again"
        ) from error


def _parse(record):
    features = tf.io.parse_single_example(record, _FEATURES)
    return features[_IMAGE], tf.cast(features[_LABEL], tf.int32) - 1


def _check_features(path, files):
    """Raises UserError naming the features of the first readable record, if they are others."""
    try:
        record = files.read(tf.constant(0)).numpy()
    except tf.errors.OpError:  # what is unreadable is counted when it is met
        return
    problem = _problem(record)
    if problem:
        raise UserError(
            f"--dataset=tfrecord:{path}: {files.where(0)} {problem}; give records of the "
            "release's layout"
        )


def _problem(record):
    """Returns in which way a record is not of the release's layout, or None."""
    try:
        names = set(tf.train.Example.FromString(record).features.feature)
    except DecodeError:
        return "is not a tf.train.Example"
    missing = {_IMAGE, _LABEL} - names
    if missing:
        return (
            f"has no {' and no '.join(sorted(missing))}; its features are "
            f"{', '.join(sorted(names)) or 'none'}"
        )
    try:
        _parse(record)
    except tf.errors.OpError as error:
        return f"has other kinds of features ({one_line(error)})"
    return None


def describe(name: str, reading) -> Description:
    """Returns the description of `tfrecord:PATH`; reads the headers of all records, to count them.

    With `eval_only` ImageNet's own number stands for the training examples.

    Raises: UserError where shards are missing.
    """
    path = name.partition(":")[2]
    return Description(
        name=name,
        num_classes=NUM_CLASSES,
        image_size=None,
        train_examples=TRAIN_EXAMPLES if reading.eval_only else _files(path, "train").size,
        eval_examples=_files(path, "validation").size,
        class_names=(),
        crop_padding=32,
        flip=True,
    )


def load(name: str, reading) -> Source:
    """Returns the data set.  Raises: UserError where shards or features are missing."""
    path = name.partition(":")[2]
    bad_examples = BadExamples(name, reading.max_bad_records)
    parts = [None] if reading.eval_only else []
    for split in ("validation",) if reading.eval_only else ("train", "validation"):
        files = _files(path, split)
        _check_features(path, files)
        parts.append(
            Encoded(
                size=files.size,
                read=_reader(files),
                where=files.where,
                num_classes=NUM_CLASSES,
                bad_examples=bad_examples,
            )
        )
    return Source(describe(name, reading), *parts, bad_examples)


def _reader(files):
    return lambda index: _parse(files.read(index))
