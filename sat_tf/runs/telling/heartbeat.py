"""A thread that says something now and then while the main thread is busy.

with Heartbeat(bar.draw):      # called every second
    ...
"""

import threading
from collections.abc import Callable

# Between two lines where no terminal shows a bar.
QUIET_SECONDS = 30


class Heartbeat:
    """Calls `beat` every `seconds` for a block; never again once the block is left."""

    def __init__(self, beat: Callable[[], object], seconds: float = 1.0):
        self._beat, self._seconds = beat, seconds
        self._over, self._thread = threading.Event(), None

    def __enter__(self):
        self._over.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *unused):
        self._over.set()
        self._thread.join()

    def _run(self):
        while not self._over.wait(self._seconds):
            self._beat()
