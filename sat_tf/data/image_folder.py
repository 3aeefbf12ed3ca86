"""`folder:PATH`: one sub-folder a class, in PATH/train and PATH/val.

PATH/train/cat/one.jpg   PATH/train/dog/two.webp   PATH/val/cat/monday/three.tif

A class folder may have folders of its own.
"""

import functools
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from sat_tf.data.description import BadExamples, Description, Source
from sat_tf.data.encoded import Encoded
from sat_tf.errors import UserError

_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")


def _refuse(name, problem):
    raise UserError(
        f"--dataset={name}: {problem}; give a folder with train/CLASS/ and val/CLASS/ "
        f"of {', '.join(_SUFFIXES)} files"
    )


def _classes(name, folder):
    """Returns the names of the sub-folders, sorted."""
    if not os.path.isdir(folder):
        _refuse(name, f"no folder {folder}")
    classes = sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not classes:
        _refuse(name, f"{folder} has no class folders")
    broken = [class_name for class_name in classes if "\n" in class_name]
    if broken:  # an export's list of names has one a line
        _refuse(name, f"{folder} has a folder with a line break in its name, {broken[0]!r}")
    return classes


def images_in(folder: str) -> tuple[list[str], list[str]]:
    """Returns the paths of the images in a folder and in those below it, sorted, and of the others.

    What files are is told by their endings here.  Hidden files and folders are no part of it.
    """
    images, others, seen = [], [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if os.path.realpath(place) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(os.path.realpath(place))
        folders[:] = (name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                kind = images if name.lower().endswith(_SUFFIXES) else others
                kind.append(os.path.join(place, name))
    return sorted(images), sorted(others)


@functools.lru_cache(maxsize=4)
def _scan(name, eval_only):
    """Returns the class names, then (paths, labels) of train, or None, and of val."""
    train, val = (os.path.join(name.partition(":")[2], part) for part in ("train", "val"))
    without_train = eval_only and not os.path.isdir(train)
    classes = _classes(name, val if without_train else train)
    if len(classes) < 2 and not without_train:  # a part to measure on may lack all but one
        _refuse(name, f"{train} has one class, {classes[0]}; two are the least")
    unknown = sorted(set(_classes(name, val)) - set(classes))
    if unknown:
        _refuse(name, f"val has {unknown[0]}, which train has not")
    of_train = None if eval_only else _examples(name, train, classes, all_classes=True)
    return tuple(classes), of_train, _examples(name, val, classes, all_classes=False)


def _examples(name, folder, classes, *, all_classes):
    """Returns the paths and labels of a part: of each class the first, then the second, and so on.

    So the first so many of them, which is what caps take, are of all classes.
    """
    found = []
    for label, class_name in enumerate(classes):
        place = os.path.join(folder, class_name)
        paths, others = images_in(place) if os.path.isdir(place) else ([], [])
        if all_classes and not paths:
            there = f", only {counted_files(others)}" if others else ""
            _refuse(name, f"{place} has no images{there}")
        found += [(number, label, path) for number, path in enumerate(paths)]
    if not found:
        _refuse(name, f"{folder} has no images")
    _, labels, paths = zip(*sorted(found))
    return paths, np.array(labels, np.int32)


_LOOKED_AT, _LARGEST_SMALL_SIDE = 32, 64


def _side_of_small_images(paths):
    """Returns the side in pixels of small square images of one size, or None for photographs.

    The first few of the evaluation part stand for all.  Only headers are read, and not by
    TensorFlow, since a strategy's devices are not set up yet; what cannot be read is reported when
    it is used.
    """
    sizes = set()
    for path in paths[:_LOOKED_AT]:
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
        except OSError:
            continue
    width, height = sizes.pop() if len(sizes) == 1 else (0, 1)
    return width if width == height <= _LARGEST_SMALL_SIDE else None


def passed_over(name: str) -> str:
    """Returns how many files of `folder:PATH` are read as nothing, and one of them; "" for none."""
    kind, _, path = name.partition(":")
    if kind != "folder":
        return ""
    others = [
        other
        for part in ("train", "val")
        if os.path.isdir(os.path.join(path, part))
        for other in images_in(os.path.join(path, part))[1]
    ]
    return counted_files(others) if others else ""


def counted_files(paths) -> str:
    """Returns a number of files, and the first of them."""
    if len(paths) == 1:
        return f"one file, {paths[0]}"
    return f"{len(paths)} files, such as {paths[0]}"


def describe(name: str, reading) -> Description:
    """Returns the description of `folder:PATH`.  Raises: UserError where it is no such folder.

    Small square images of one size, such as CIFAR's, keep it and are not cropped to their centre.
    """
    classes, of_train, of_val = _scan(name, reading.eval_only)
    eval_examples = len(of_val[0])
    side = _side_of_small_images(of_val[0])
    return Description(
        name=name,
        num_classes=len(classes),
        image_size=side,
        train_examples=len(of_train[0]) if of_train else eval_examples,
        eval_examples=eval_examples,
        class_names=classes,
        crop_padding=32 if side is None else 0,
        flip=True,
        eval_lacks=tuple(
            class_name for label, class_name in enumerate(classes) if label not in of_val[1]
        ),
    )


def load(name: str, reading) -> Source:
    """Returns the data set.  Raises: UserError where it is no such folder."""
    classes, *parts = _scan(name, reading.eval_only)
    bad_examples = BadExamples(name, reading.max_bad_records)
    encoded = [
        part
        and Encoded(
            size=len(part[0]),
            read=_reader(*part),
            where=part[0].__getitem__,
            num_classes=len(classes),
            bad_examples=bad_examples,
        )
        for part in parts
    ]
    return Source(describe(name, reading), *encoded, bad_examples)


def _reader(paths, labels):
    with tf.device("/CPU:0"):
        path_tensor, label_tensor = tf.constant(list(map(os.fsencode, paths))), tf.constant(labels)
    return lambda index: (
        tf.io.read_file(tf.gather(path_tensor, index)),
        tf.gather(label_tensor, index),
    )
