"""Standard output and error that may be closed, full, or left by their reader.

with that_may_close():
    print("the run goes on whether or not this can be written")
"""

import contextlib
import errno
import os
import sys
import threading

_GONE = (errno.EPIPE, errno.EIO)  # a pipe's reader, and a terminal
_CLEARED = "\r\033[K"  # the line that the cursor is on


class _Screen:
    """What terminals show on their last line: a bar, which a message takes the place of."""

    def __init__(self):
        self._has_bar = False
        self.lock = threading.RLock()  # bars are drawn by threads

    def placed(self, text):
        """Returns what to write for `text`: a message begins on a line of its own."""
        start = _CLEARED if self._has_bar and text[:1] not in ("", "\r", "\n") else ""
        kept = self._has_bar and not start and text[:1] != "\r"
        last = text.rpartition("\n")[2]
        if "\r" in last:
            self._has_bar = bool(last.rpartition("\r")[2].replace("\033[K", "").strip())
        else:
            self._has_bar = kept and "\n" not in text
        return start + text


class _Lenient:
    """A text stream that is pointed at nothing once it can no longer be written.

    Args:
      stream: the stream.
      screen: the `_Screen` of all terminals; a stream that is none is not concerned.
    """

    def __init__(self, stream, screen):
        self._stream = stream
        self._screen = screen if stream.isatty() else None

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text):
        """Writes as much as can be; returns the number of characters that it was given."""
        with self._or_nothing():
            self._place(text, self._stream.write)
        return len(text)

    def write_utf8(self, text):
        """As `write`, but UTF-8 whatever the encoding is, and what is no UTF-8 as its bytes.

        Raises: OSError where it cannot be written, but not where the reader has gone.
        """

        def write(placed):
            self._stream.flush()
            self._stream.buffer.write(placed.encode("utf-8", "surrogateescape"))
            self._stream.buffer.flush()

        try:
            self._place(text, write)
        except OSError as error:
            self._point_at_nothing()
            if error.errno not in _GONE:
                raise
        return len(text)

    def _place(self, text, write):
        if self._screen is None:
            write(text)
        else:
            with self._screen.lock:
                write(self._screen.placed(text))

    def flush(self):
        with self._or_nothing():
            self._stream.flush()

    @contextlib.contextmanager
    def _or_nothing(self):
        try:
            yield
        except OSError as error:
            self._give_up(error)

    def _point_at_nothing(self):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())  # what is buffered goes there too
        os.close(nothing)

    def _give_up(self, error):
        self._point_at_nothing()
        if error.errno not in _GONE and self._stream is not sys.__stderr__:
            print(
                f"note: standard output cannot be written ({error.strerror}); the run goes on "
                "without",
                file=sys.stderr,
            )


class Data:
    """The text of a file that goes to standard output: its bytes are those of the file.

    Args:
      stream: `sys.stdout` within `that_may_close`.
    """

    def __init__(self, stream):
        self.write, self.flush = stream.write_utf8, stream.flush


class _Own:
    """A text stream that leaves out lines which another worker writes as well."""

    _OF_ALL = ("note: ", "warning: ", "saved ")

    def __init__(self, stream):
        self._stream, self._leaves_out = stream, False

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def isatty(self):
        return False  # for bars, of which there is one

    def write(self, text):
        self._leaves_out = self._leaves_out or text.startswith(self._OF_ALL)
        if not self._leaves_out:
            self._stream.write(text)
        self._leaves_out = self._leaves_out and not text.endswith("\n")
        return len(text)


@contextlib.contextmanager
def of_worker():
    """Leaves out, for a block, what the chief of several workers says for all of them.

    Errors and answers to signals are each worker's own.
    """
    with (
        open(os.devnull, "w") as nothing,
        contextlib.redirect_stdout(nothing),
        contextlib.redirect_stderr(_Own(sys.stderr)),
    ):
        yield


def fill_missing():
    """Points standard streams that are closed at nothing, so that no other file takes their place.

    To be called before anything is opened.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


@contextlib.contextmanager
def that_may_close():
    """Makes `sys.stdout` and `sys.stderr` lenient for a block.

    A reader that has gone (`| head`) ends nothing and is not spoken of; for a full disk there is a
    note.  The files of the run are complete all the same, and so is its exit status.  Where they
    are terminals, no message is written onto the line of a bar: it takes the line, and the bar is
    drawn again below.  What their encoding cannot write is spelled in
    ASCII, as a file name that is not UTF-8 is.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    screen = _Screen()
    sys.stdout, sys.stderr = (_Lenient(stream, screen) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
