"""The event files of a run: what TensorBoard shows as the runs NAME/train, NAME/eval, ...

    with create_writer("runs/mine", "train") as writer: ...
    forget("runs/mine", lambda part, step, tag: step > 660)      # what is about to be taken again

Event files lie in a folder for each part of the run, and those of its settings beside these.
"""

import contextlib
import glob
import os
import tempfile
from collections.abc import Callable

import tensorflow as tf

from sat_tf.files import plain

PARTS = ("train", "validation", "eval")
_FILES = "events.out.tfevents.*"


def create_writer(folder, part=""):
    """Returns a context manager of the summary writer of a part; leaving it closes it.

    Args:
      folder: the run's.
      part: one of PARTS: each is a curve of its own; "" for what is of the run as a whole.
    Raises: tf.errors.OpError if the folder cannot be written; at once, not when it is entered.
    """
    return contextlib.closing(tf.summary.create_file_writer(os.path.join(plain(folder), part)))


def files_of(folder, parts=(*PARTS, "")) -> list[str]:
    """Returns the paths of a run's event files, and of the folders of its profiles."""
    return [
        path
        for part in parts
        for pattern in (_FILES, "plugins/profile")
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), part, pattern)))
    ]


def forget(folder, is_old: Callable[[str, int, str], bool]):
    """Removes values from the event files of a run, so that nothing is shown twice.

    Args:
      folder: the run's.
      is_old: (part, step, tag) -> whether a value is removed.
    Raises: OSError, tf.errors.OpError if a file cannot be read or written.
    """
    for part in PARTS:
        for path in files_of(folder, [part]):
            if os.path.isfile(path):
                _rewrite(path, lambda step, tag, part=part: is_old(part, step, tag))


def _rewrite(path, is_old):
    events = list(_events_of(path))
    kept = [event for event in events if not _is_old(event, is_old)]
    if len(kept) == len(events):
        return
    if not any(event.HasField("summary") for event in kept):
        os.unlink(path)
        return
    # Beside the file, under a name that TensorBoard does not look for.
    descriptor, part = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".part")
    os.close(descriptor)
    with tf.io.TFRecordWriter(plain(part)) as writer:
        for event in kept:
            writer.write(event.SerializeToString())
    os.chmod(part, 0o644)
    os.replace(part, path)


def _events_of(path):
    """Yields the events of a file, as far as a killed process has written them whole."""
    records = iter(tf.data.TFRecordDataset([os.fsencode(path)]))
    with contextlib.suppress(tf.errors.DataLossError):
        for record in records:
            yield tf.compat.v1.Event.FromString(record.numpy())


def _is_old(event, is_old):
    return event.HasField("summary") and any(
        is_old(event.step, value.tag) for value in event.summary.value
    )
