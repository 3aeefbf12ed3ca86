"""Whether a checkpoint on disk is whole: each of its values is read, and its checksum compared.

usable(["runs/mine/checkpoints/checkpoint-at-step-20", ...])      # newest first
"""

import functools
import glob
import os
import sys
from collections.abc import Sequence

import tensorflow as tf

from sat_tf.files import plain

# What keeps a file from being read now, whole as it may be: whoever restores it says so.
# TensorFlow's reader has its errors' kinds in their texts alone.
_OTHER_CAUSES = ("Permission denied", "Input/output error", "Stale file handle", "Too many open")


def files_of(prefix: str) -> list[str]:
    """Returns the paths of what is there of a checkpoint."""
    return sorted(glob.glob(glob.escape(prefix) + ".*"))


def usable(prefixes: Sequence[str]) -> str | None:
    """Returns the newest of the checkpoints that is whole.

    Where none is, the newest, so that whoever restores it says what is wrong; None of none.

    Args:
      prefixes: path prefixes, the newest first.  One that is left out for another is said.
    """
    damaged = []
    for prefix in prefixes:
        if _is_whole(prefix, _stamp(prefix)):
            for other in damaged:
                _say_left_out(other, prefix)
            return prefix
        damaged.append(prefix)
    return damaged[0] if damaged else None


def _stamp(prefix):
    """Returns what is another one where the files have changed."""
    stats = map(os.stat, files_of(prefix))
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


@functools.lru_cache(maxsize=16)
def _is_whole(prefix, unused_stamp):
    try:
        reader = tf.train.load_checkpoint(plain(prefix))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError) as error:
        return any(cause in str(error) for cause in _OTHER_CAUSES)
    return True


@functools.cache
def _say_left_out(damaged, other):
    print(
        f"note: the checkpoint {damaged} is damaged; {other}, which was saved before it, is used",
        file=sys.stderr,
    )
