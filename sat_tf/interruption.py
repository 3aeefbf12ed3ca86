"""SIGINT, SIGTERM and SIGHUP as an exception raised only where the training state is whole."""

import signal
import sys


class Interrupted(Exception):
    """Raised by `Interruption.check` after a signal; `signum` says which."""

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Interruption:
    """Notes the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once.

    One that the process was started to ignore, as by `nohup` or in a shell's background, it goes
    on ignoring.  A context manager: handlers are put back on leaving.  Training and evaluation call
    `check` between batches, where no weight is half updated and no average is swapped in.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self):
        self._received = None
        self._previous = {}

    def __enter__(self):
        self._previous = {
            s: signal.signal(s, self._note)
            for s in self.SIGNALS
            if signal.getsignal(s) != signal.SIG_IGN
        }
        return self

    def __exit__(self, *unused):
        self._restore_handlers()

    def _restore_handlers(self):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}

    def _note(self, signum, unused_frame):
        self._received = signum
        self._restore_handlers()
        print(
            f"\n{signal.Signals(signum).name}: ending as soon as nothing is half done "
            "(once more to end at once)",
            file=sys.stderr,
            flush=True,
        )

    def check(self):
        """Raises Interrupted if a signal has come."""
        if self._received is not None:
            raise Interrupted(self._received)
