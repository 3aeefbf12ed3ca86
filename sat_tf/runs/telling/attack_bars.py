"""Measuring while it goes on: a bar for each attack, and the time that is left.

with AttackBars() as bars:
    evaluator(batches, on_batch=bars.show, on_work=bars.count)
"""

import sys
import time

import tqdm

from sat_tf.runs.telling.heartbeat import QUIET_SECONDS, Heartbeat
from sat_tf.runs.telling.words import duration, rate

_SHOWN = "{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} examples [{elapsed}{postfix}]"
_TOTAL_UNKNOWN = "{desc}: {n_fmt} examples [{elapsed}{postfix}]"


class AttackBars:
    """A bar for each attack on standard error; a line now and then where no terminal is.

    What is left is told from the passes that are left, not from the examples: see
    `evaluation.work`.  Where only examples are known, it is told from these.

    Args:
      examples: how many there are, as far as is known, for when an attack does not tell.
    """

    def __init__(self, examples: int | None = None):
        self._examples = examples
        self._bar, self._name, self._work = None, None, None
        self._shown = time.monotonic()
        self._heartbeat = Heartbeat(self._beat)

    def __enter__(self):
        self._heartbeat.__enter__()
        return self

    def __exit__(self, *unused):
        self._heartbeat.__exit__()
        self._end()

    def count(self, work):
        """Takes the `evaluation.work.Work` of the turn that `show` then tells of."""
        self._work = work

    def show(self, name: str, done: int, total: int | None):
        """Shows how many examples an attack has decided on, of how many.

        Args:
          name: the attack's.
          done: examples, with those of an earlier process.
          total: None where it is not known.
        """
        if name != self._name:
            self._begin(name, done, total)
        self._bar.n = done
        self._bar.set_postfix_str(self._left(done), refresh=False)
        if time.monotonic() - self._shown >= (0.2 if self._is_terminal else QUIET_SECONDS):
            self._draw()

    @property
    def _is_terminal(self):
        return sys.stderr.isatty()

    def _begin(self, name, done, total):
        self._end()
        total = self._examples if total is None else total
        self._name, self._since, self._first = name, time.monotonic(), done
        self._bar = tqdm.tqdm(
            desc=name,
            total=total,
            initial=done,
            leave=False,
            file=sys.stderr if self._is_terminal else _Lines(sys.stderr),
            dynamic_ncols=self._is_terminal,
            bar_format=_TOTAL_UNKNOWN if total is None else _SHOWN,
            delay=1e9,  # it is drawn here, not when tqdm is told of examples
        )

    def _end(self):
        if self._bar is not None:
            if self._is_terminal:
                sys.stderr.write("\r\033[K")
            self._bar.disable = True  # nothing of it stays, as it was not to be left
            self._bar.close()
        self._bar, self._name, self._work = None, None, None

    def _beat(self):
        silent = time.monotonic() - self._shown
        if self._bar is not None and silent >= (1 if self._is_terminal else QUIET_SECONDS):
            self._draw()

    def _draw(self):
        self._shown = time.monotonic()
        self._bar.refresh()

    def _left(self, done):
        """Returns the rate, the time that this attack needs, and those after it at most."""
        seconds = time.monotonic() - self._since
        found = []
        if done > self._first and seconds > 0:
            found.append(f"{rate((done - self._first) / seconds)} examples/s")
        if self._work is not None and self._work.in_steps and self._work.made:
            each = seconds / self._work.made
            found.append(f"{duration(self._work.left * each)} left")
            if self._work.later:
                found.append(f"then up to {duration(self._work.later * each)} of other attacks")
        elif done > self._first and self._bar.total:
            each = seconds / (done - self._first)
            found.append(f"{duration(max(0, self._bar.total - done) * each)} left")
        return ", ".join(found)


class _Lines:
    """A stream on which each state of a bar is a line, for logs; that it is wiped out is not."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        state = text.strip()
        if state:
            self._stream.write(f"{state}\n")

    def flush(self):
        self._stream.flush()
