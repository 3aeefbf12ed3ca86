"""`folder:PATH`: one sub-folder a class, in PATH/train and PATH/val.

    PATH/train/cat/one.jpg   PATH/train/dog/two.png   PATH/val/cat/three.jpg
"""

import functools
import os

import numpy as np
import tensorflow as tf

from sat_tf.data.description import BadExamples, Description, Source
from sat_tf.data.encoded import Encoded
from sat_tf.errors import UserError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp")


def _refuse(name, problem):
    raise UserError(f"--dataset={name}: {problem}; give a folder with train/CLASS/ and val/CLASS/ "
                    f"of {', '.join(_SUFFIXES)} files")


def _classes(name, folder):
    """Returns the names of the sub-folders, sorted."""
    if not os.path.isdir(folder):
        _refuse(name, f"no folder {folder}")
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not classes:
        _refuse(name, f"{folder} has no class folders")
    return classes


def _files(folder):
    """Returns the paths of the images in a class folder, sorted; other files are no examples."""
    return sorted(entry.path for entry in os.scandir(folder)
                  if entry.name.lower().endswith(_SUFFIXES))


@functools.lru_cache(maxsize=4)
def _scan(name):
    """Returns the class names, and (paths, labels) of train and of val."""
    path = name.partition(":")[2]
    classes = _classes(name, os.path.join(path, "train"))
    if len(classes) < 2:
        _refuse(name, f"{path}/train has one class, {classes[0]}; two are the least")
    unknown = sorted(set(_classes(name, os.path.join(path, "val"))) - set(classes))
    if unknown:
        _refuse(name, f"val has {unknown[0]}, which train has not")
    parts = []
    for part in ("train", "val"):
        paths, labels = [], []
        for label, class_name in enumerate(classes):
            folder = os.path.join(path, part, class_name)
            found = _files(folder) if os.path.isdir(folder) else []
            if part == "train" and not found:
                _refuse(name, f"{folder} has no images")
            paths += found
            labels += [label] * len(found)
        if not paths:
            _refuse(name, f"{path}/{part} has no images")
        parts.append((paths, np.array(labels, np.int32)))
    return tuple(classes), *parts


def describe(name: str, unused_reading) -> Description:
    """Returns the description of `folder:PATH`.  Raises: UserError where it is no such folder."""
    classes, (train, _), (evaluation, _) = _scan(name)
    return Description(
        name=name, num_classes=len(classes), image_size=None, train_examples=len(train),
        eval_examples=len(evaluation), class_names=classes, crop_padding=32, flip=True)


def load(name: str, reading) -> Source:
    """Returns the data set.  Raises: UserError where it is no such folder."""
    classes, *parts = _scan(name)
    bad_examples = BadExamples(name, reading.max_bad_records)
    encoded = [Encoded(
        size=len(paths), read=_reader(paths, labels), where=paths.__getitem__,
        num_classes=len(classes), bad_examples=bad_examples) for paths, labels in parts]
    return Source(describe(name, reading), *encoded, bad_examples)


def _reader(paths, labels):
    with tf.device("/CPU:0"):
        path_tensor, label_tensor = tf.constant(paths), tf.constant(labels)
    return lambda index: (
        tf.io.read_file(tf.gather(path_tensor, index)), tf.gather(label_tensor, index))
