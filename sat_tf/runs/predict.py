"""Classifies image files and writes what it found as a CSV file.

rows = predict_files(classify, "~/photos/**/*.jpg", image_size=224, crop_padding=32,
                     class_names=names, batch_size=64, output="predictions.csv")
"""

import csv
import glob
import io
import os

import numpy as np
import tensorflow as tf

from sat_tf import data
from sat_tf.errors import UserError
from sat_tf.files import write_text


def predict_files(classify, pattern, *, image_size, crop_padding, class_names, batch_size, output):
    """Writes `file,class,probability` for every image file that a pattern matches.

    The rows are sorted by file name.  The class is the likeliest one, by its name where there is
    one for it and by its index otherwise; its probability has six decimals.  The CSV file appears
    when it is complete; whatever goes wrong before that, nothing is written.

    Args:
      classify: float32 [B, S, S, 3] in [0, 1] -> probabilities [B, C]; B is always `batch_size`.
      pattern: a file name or glob; `~` and `**` are understood.
      image_size: S in pixels; every image gets the evaluation crop to it.
      crop_padding: of the evaluation crop, see `data.evaluation_crop`.
      class_names: names in label order, or ().
      batch_size: number of images classified at a time.
      output: name of the CSV file; its folder is made where it does not exist.
    Returns: the number of rows.
    Raises:
      UserError: if no file matches, or one of them is not a readable image.
      OSError: if the CSV file cannot be written.
    """
    files = _matching_files(pattern)
    rows = []
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        images = np.zeros([batch_size, image_size, image_size, 3], np.float32)
        for place, file in enumerate(batch):
            images[place] = _read(file, image_size, crop_padding)
        probabilities = np.asarray(classify(tf.constant(images)))
        rows += [_row(file, p, class_names) for file, p in zip(batch, probabilities)]
    _write(rows, output)
    return len(rows)


def _matching_files(pattern):
    path = os.path.expanduser(pattern)
    if os.path.isfile(path):  # a name with brackets in it is a name before it is a pattern
        return [path]
    files = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    if not files:
        raise UserError(
            f"--images={pattern}: no such file; give a file name, or a pattern in "
            "quotes such as 'photos/*.jpg'"
        )
    return files


def _read(file, image_size, crop_padding):
    try:
        with open(file, "rb") as stream:
            pixels = data.decode(stream.read())
    except OSError as error:
        problem = error.strerror
    except tf.errors.InvalidArgumentError:  # its text speaks of ops and nodes
        problem = "not a whole JPEG or PNG image"
    else:
        return data.evaluation_crop(pixels, image_size, crop_padding)
    raise UserError(f"--images={file}: {problem}; repair the file, or leave it out of the pattern")


def _row(file, probabilities, class_names):
    best = int(np.argmax(probabilities))
    name = class_names[best] if best < len(class_names) else str(best)
    return file, name, f"{probabilities[best]:.6f}"


def _write(rows, output):
    output = os.path.expanduser(output)
    os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("file", "class", "probability"))
    writer.writerows(rows)
    # File names need not be UTF-8; they come out as the bytes they are.
    write_text(output, table.getvalue(), encoding_errors="surrogateescape")
