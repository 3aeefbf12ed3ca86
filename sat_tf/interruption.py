"""SIGINT, SIGTERM and SIGHUP as an exception raised only where the training state is whole."""

import contextlib
import os
import signal
import sys
import threading
import time

_TOGETHER_SECONDS = 0.3  # what sends to a process and to its group sends twice


class Interrupted(BaseException):
    """Raised by `Interruption.check` after a signal; `signum` says which.

    No Exception, as KeyboardInterrupt is none: whoever puts up with errors is not to swallow it.
    """

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Interruption:
    """Notes the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once.

    A signal is answered by a thread of its own, so within a second whatever the process is at.
    One that the process was started to ignore, as by `nohup` or in a shell's background, it goes
    on ignoring.  A context manager: handlers are put back on leaving.  Training and evaluation call
    `check` between batches, where no weight is half updated and no average is swapped in.

    Attributes:
      agree: see `shared`.
      then: called for the answer, returns what is done before the process ends, and how long it
        may take; of whoever is at work, see `doing`.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        self._received = None
        self._raises = False
        self._previous = {}
        self.then, self.agree = _nothing_half_done, None

    def __enter__(self):
        self._previous = {
            s: signal.signal(s, self._note)
            for s in self.SIGNALS
            if signal.getsignal(s) != signal.SIG_IGN
        }
        self._read, self._written = os.pipe()
        os.set_blocking(self._written, False)
        self._woken = signal.set_wakeup_fd(self._written, warn_on_full_buffer=False)
        self._listener = threading.Thread(
            target=self._listen, args=(tuple(self._previous),), daemon=True
        )
        self._listener.start()
        return self

    def __exit__(self, *unused):
        signal.set_wakeup_fd(self._woken)
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
        os.close(self._written)
        self._listener.join()
        os.close(self._read)

    def check(self):
        """Raises Interrupted if a signal has come; where others would be left waiting, not yet."""
        if self._received is not None and self.agree is None:
            raise Interrupted(self._received)

    def check_together(self):
        """As `check`, where all workers of a run are at the same place: a signal of one is for all.

        Where it has come to several, each answers to its own.
        """
        if self.agree is None:
            self.check()
        elif agreed := self.agree(self._received or 0):
            raise Interrupted(self._received or agreed)

    @contextlib.contextmanager
    def shared(self, agree):
        """Has signals wait for the next `check_together` for a block.

        Args:
          agree: int -> the highest of what all workers give; None for a process that is alone.
        """
        self.agree = agree
        if agree is not None:  # TensorFlow takes SIGTERM when it connects them
            for signum in self._previous:
                signal.signal(signum, self._note)
        try:
            yield
        finally:
            self.agree = None

    @contextlib.contextmanager
    def doing(self, then):
        """Makes `then` the answer to a signal for a block."""
        before, self.then = self.then, then
        try:
            yield
        finally:
            self.then = before

    @contextlib.contextmanager
    def at_once(self):
        """For a block in which nothing can be half done: a signal raises Interrupted where it is.

        `finish_first` ends that before the block does.
        """
        self.check()
        self._raises = True
        try:
            with self.doing(lambda: "ending"):
                yield
        finally:
            self._raises = False

    def finish_first(self):
        """Has a signal wait for the next `check` from now on."""
        self._raises = False

    def _note(self, signum, unused_frame):
        # By Python, between two of its instructions: it may be long after the thread's answer.
        if self._received is None:
            self._received = signum
        if self._raises:
            self._raises = False
            raise Interrupted(self._received)

    def _listen(self, signals):
        first = None
        while came := os.read(self._read, 1):
            signum = came[0]
            if signum not in signals:
                continue
            if first is None:
                first = time.monotonic()
                self._answer(signum)
            elif time.monotonic() - first > _TOGETHER_SECONDS:
                os._exit(128 + signum)  # the main thread may be in a call that takes minutes

    def _answer(self, signum):
        print(
            f"{signal.Signals(signum).name}: {self.then()} (once more to end at once)",
            file=sys.stderr,
            flush=True,
        )


def _nothing_half_done():
    return "ending as soon as nothing is half done"
