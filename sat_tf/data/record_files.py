"""TFRecord files as a sequence of records that can be read in any order.

files = RecordFiles(["train-00000-of-00002", "train-00001-of-00002"])
files.size                                  # records in all
files.read(tf.constant(17))                 # the 18th record, a string
files.where(17)                             # "train-00000-of-00002, record 17"
"""

import concurrent.futures
import functools
import os
import struct

import numpy as np
import tensorflow as tf

from sat_tf.files import plain

# A record is its length (8 bytes), the length's checksum (4), the data, and its checksum (4).
_HEADER, _AROUND = 8, 16


def _open(path):
    # Python's own is several times as fast; TensorFlow's also knows gs:// and the like.
    return (
        tf.io.gfile.GFile(path, "rb") if "://" in os.fspath(path) else open(path, "rb", buffering=0)
    )


def record_offsets(path: str):
    """Returns where each record of a TFRecord file begins, from the headers alone.

    Returns: (offsets int64 [N], whether the file ends in the middle of the last one).
    """
    size, position, offsets = tf.io.gfile.stat(plain(path)).length, 0, []
    with _open(path) as file:
        while position < size:
            offsets.append(position)
            file.seek(position)
            header = file.read(_HEADER)
            if len(header) < _HEADER:
                return np.array(offsets, np.int64), True
            position += struct.unpack("<Q", header)[0] + _AROUND
    return np.array(offsets, np.int64), position != size


class RecordFiles:
    """The records of several TFRecord files, without compression, one file after the other.

    Args:
      paths: the files, in order.
    A file that is cut off counts its last, partial record, which then fails to be read.
    Raises: ValueError naming the first file that is empty, or has not one whole record.
    """

    def __init__(self, paths):
        self._paths = [os.fspath(path) for path in paths]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:  # most of it is waiting for disks
            indices = list(pool.map(record_offsets, self._paths))
        for path, (offsets, cut_off) in zip(self._paths, indices):
            if not len(offsets):
                raise ValueError(f"{path} is empty")
            if len(offsets) == 1 and cut_off:
                raise ValueError(
                    f"{path} has no whole record: it is compressed, cut off, or no TFRecord file"
                )
        self._starts = np.cumsum([0] + [len(offsets) for offsets, _ in indices])
        self._cut_off = {path for path, (_, cut_off) in zip(self._paths, indices) if cut_off}
        self._offsets = np.concatenate([offsets for offsets, _ in indices])

    @property
    def size(self) -> int:
        """Number of records."""
        return int(self._starts[-1])

    @functools.cached_property
    def _tensors(self):
        """Offset and file of each record, and the paths: made on first use.

        Counting records comes before there may be any tensor, as logical devices do.
        """
        files = np.repeat(np.arange(len(self._paths), dtype=np.int32), np.diff(self._starts))
        with tf.init_scope(), tf.device("/CPU:0"):
            return (
                tf.constant(self._offsets),
                tf.constant(files),
                tf.constant(list(map(os.fsencode, self._paths))),
            )

    def read(self, index):
        """Returns record `index` (int scalar), a string scalar; in graphs too.

        Raises: tf.errors.OpError where it is corrupt or cannot be read.
        """
        offsets, files, paths = self._tensors
        path = tf.gather(paths, tf.gather(files, index))
        records = tf.raw_ops.TFRecordDatasetV2(
            filenames=[path],
            compression_type="",
            buffer_size=tf.constant(65536, tf.int64),
            byte_offsets=[tf.gather(offsets, index)],
        )
        return (
            tf.data.experimental.from_variant(records, tf.TensorSpec([], tf.string))
            .take(1)
            .get_single_element()
        )

    def where(self, index: int) -> str:
        """Returns the file's path and the record's number in it, from 0."""
        file = int(np.searchsorted(self._starts, index, side="right")) - 1
        path = self._paths[file]
        last = " (the file ends in the middle of it; what followed is lost)"
        is_last = path in self._cut_off and index + 1 == self._starts[file + 1]
        return f"{path}, record {index - self._starts[file]}{last if is_last else ''}"
