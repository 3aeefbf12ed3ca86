"""Classifies image files and writes what it found as CSV, row by row.

rows = predict_files(classify, "~/photos/**/*.jpg", image_size=224, crop_padding=32,
                     class_names=names, batch_size=64, output="predictions.csv")
"""

import contextlib
import csv
import glob
import os

import numpy as np
import tensorflow as tf

from sat_tf import data
from sat_tf.errors import UserError


def predict_files(
    classify,
    pattern,
    *,
    image_size,
    crop_padding,
    class_names,
    batch_size,
    output,
    top=1,
    max_bad=0,
    on_batch=lambda done, total: None,
    on_bad=lambda file, problem: None,
):
    """Writes `file,class,probability` for every image file that a pattern matches.

    The rows are sorted by file name.  The class is the likeliest one, by its name where there is
    one for it and by its index otherwise; its probability has six decimals.  Rows are there as soon
    as their batch is classified, and stay when the rest is interrupted.  The file is begun with the
    first; where one was there before, a refusal puts that back.

    Args:
      classify: float32 [B, S, S, 3] in [0, 1] -> probabilities [B, C]; B is always `batch_size`.
      pattern: a file name, a folder, of which all images are taken, or a glob; `~` and `**` are
        understood.
      image_size: S in pixels; every image gets the evaluation crop to it.
      crop_padding: of the evaluation crop, see `data.evaluation_crop`.
      class_names: names in label order, or ().
      batch_size: number of images classified at a time.
      output: name of the CSV file, whose folder is made where it does not exist; or a text stream.
      top: how many classes a row has, the likeliest first: `class_2,probability_2` and so on.
      max_bad: how many files may be no readable images.  If any may, there is a last column,
        `error`, and a row for each that says why.
      on_batch: called as on_batch(done, total), in files.
      on_bad: called as on_bad(file, problem) for each file that is no readable image.
    Returns: the number of rows.
    Raises:
      UserError: if no file matches, or more than `max_bad` are not readable images.
      OSError: if the CSV cannot be written.
    """
    files = _matching_files(pattern)
    table = _Table(output, top, has_errors=max_bad > 0)
    bad = 0
    with table:
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            images = np.zeros([batch_size, image_size, image_size, 3], np.float32)
            problems = {}
            for place, file in enumerate(batch):
                images[place], problems[place] = _read(file, image_size, crop_padding)
                if problems[place] is not None:
                    bad += 1
                    on_bad(file, problems[place])
                if bad > max_bad:
                    _refuse(file, problems[place], max_bad)
            probabilities = np.asarray(classify(tf.constant(images)))
            table.write(
                [file, *_classes(probabilities[place], class_names, top), ""]
                if problems[place] is None
                else [file, *[""] * (2 * top), problems[place]]
                for place, file in enumerate(batch)
            )
            on_batch(start + len(batch), len(files))
    return len(files)


def predict_and_say(classify, pattern, *, output, **options) -> str:
    """Does what `predict_files` does; returns what is to be said of it.

    Raises: UserError as there, and where the CSV cannot be written.
    """
    bad, is_stream = [], hasattr(output, "write")
    try:
        rows = predict_files(
            classify, pattern, output=output, on_bad=lambda *one: bad.append(one), **options
        )
    except OSError as error:  # unreadable images have errors of their own
        place = "-" if is_stream else output
        raise UserError(
            f"--output={place}: cannot be written: {error.strerror}; name another file"
        ) from error
    of_bad = f", {len(bad)} of them of files that are no readable images" if bad else ""
    named = "standard output" if is_stream else output
    return f"wrote {rows} rows to {named}{of_bad}"


class _Table:
    """The CSV, opened with the first rows, so that what fails before harms no earlier one."""

    def __init__(self, output, top, *, has_errors):
        self._output, self._has_errors = output, has_errors
        more = (name for n in range(2, top + 1) for name in (f"class_{n}", f"probability_{n}"))
        self._header = ["file", "class", "probability", *more, "error"]
        self._file, self._opened = None, contextlib.ExitStack()
        self._path, self._earlier = None, None

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        self._opened.__exit__(kind, *error)
        if self._earlier is not None and kind is not None and issubclass(kind, UserError):
            with open(self._path, "wb") as file:
                file.write(self._earlier)

    def write(self, rows):
        """Writes rows, and the header above the first; they are there when it returns."""
        if self._file is None:
            self._file = self._open()
            rows = [self._header, *rows]
        writer = csv.writer(self._file, lineterminator="\n")
        writer.writerows(row if self._has_errors else row[:-1] for row in rows)
        self._file.flush()

    def _open(self):
        if hasattr(self._output, "write"):
            return self._output
        path = self._path = os.path.expanduser(self._output)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                self._earlier = file.read()
        # Where it is a link, what it leads to.  File names need not be UTF-8; they come out as the
        # bytes they are.
        return self._opened.enter_context(
            open(path, "w", encoding="utf-8", errors="surrogateescape", newline="")
        )


def _matching_files(pattern):
    path = os.path.expanduser(pattern)
    if os.path.isfile(path):  # a name with brackets in it is a name before it is a pattern
        return [path]
    if os.path.isdir(path):
        files, _ = data.images_in(path)
    else:
        files = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    if not files:
        raise UserError(
            f"--images={pattern}: no such file; give a file name, a folder, or a pattern in "
            "quotes such as 'photos/*.jpg'"
        )
    return files


def _read(file, image_size, crop_padding):
    """Returns the image, and why there is none: one of them is zero or None."""
    try:
        with open(file, "rb") as stream:
            content = stream.read()
    except OSError as error:
        return 0, error.strerror
    try:
        return data.evaluation_crop(data.decode(content), image_size, crop_padding), None
    except tf.errors.OpError:  # its text speaks of ops and nodes
        return 0, data.problem(content) or "cannot be decoded"


def _refuse(file, problem, max_bad):
    allowed = f"; more than the {max_bad} of --max_bad_records" if max_bad else ""
    raise UserError(
        f"--images={file}: {problem}{allowed}; repair the file, leave it out of the pattern, or "
        f"give --max_bad_records={max_bad + 1} or more"
    )


def _classes(probabilities, class_names, top):
    """Returns name and probability of the likeliest classes, one after the other."""
    best = np.argsort(-probabilities, kind="stable")[:top]
    return [
        text
        for index in best
        for text in (
            class_names[index] if index < len(class_names) else str(index),
            f"{probabilities[index]:.6f}",
        )
    ]
