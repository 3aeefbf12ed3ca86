"""What a command is at before there is a bar, with seconds.

with phase("building the network") as building:
    model = build()
    building.found = "272,474 parameters"
"""

import contextlib
import sys
import time

import tensorflow as tf

from sat_tf.runs.telling.heartbeat import QUIET_SECONDS, Heartbeat
from sat_tf.runs.telling.words import duration

_FIRST_LINE_SECONDS = 3  # what is over sooner needs no line of its own in a log
_WORTH_A_LINE_SECONDS = 1


class _Phase:
    """One thing that is being done; `found` is what there is to say of it at the end."""

    def __init__(self, doing, stream):
        self._doing, self._stream = doing, stream
        self.found = ""
        self._since = time.monotonic()
        self._next_line = _FIRST_LINE_SECONDS

    def beat(self):
        """Renews the line of a terminal, or writes another one where it is time."""
        seconds = time.monotonic() - self._since
        if self._stream.isatty():
            self._write(f"\r\033[K{self._doing} ... {duration(round(seconds))}")
        elif seconds >= self._next_line:
            self._next_line = seconds + QUIET_SECONDS
            self._write(f"{self._doing} ... {duration(seconds)} so far\n")

    def end(self, failed):
        """Says how long it took, and what was found."""
        seconds = time.monotonic() - self._since
        cleared = "\r\033[K" if self._stream.isatty() else ""
        if failed or not (self.found or seconds >= _WORTH_A_LINE_SECONDS):
            self._write(cleared)
            return
        found = f", {self.found}" if self.found else ""
        self._write(f"{cleared}{self._doing}: {duration(seconds)}{found}\n")

    def _write(self, text):
        self._stream.write(text)
        self._stream.flush()


@contextlib.contextmanager
def phase(doing: str, stream=None):
    """Says for a block what is being done.

    Args:
      doing: as in "building the network".
      stream: where; None means standard output, as errors stand alone on the other.
    Yields: an object whose `found` may be set to what is to be said when it is done.
    """
    stream = stream or sys.stdout
    said = _Phase(doing, stream)
    try:
        with Heartbeat(said.beat):
            yield said
    except BaseException:
        said.end(failed=True)
        raise
    said.end(failed=False)


class FirstStep(tf.keras.callbacks.Callback):
    """Says that the training step is being traced and compiled, until the first one is done.

    In that time nothing is half done, so that a signal ends it at once.  A context manager, to be
    left after `fit`, whatever that has ended with.

    Args:
      interruption: an `Interruption`.
    """

    def __init__(self, interruption):
        super().__init__()
        self._interruption, self._open = interruption, contextlib.ExitStack()
        self._begun = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._open.__exit__(*error)

    def on_train_batch_begin(self, batch, logs=None):
        if not self._begun:
            self._begun = True
            self._open.enter_context(phase("tracing and compiling the training step"))
            self._open.enter_context(self._interruption.at_once())

    def on_train_batch_end(self, batch, logs=None):
        self._open.close()
