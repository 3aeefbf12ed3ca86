"""How far an evaluation has come, in memory and in a file to go on from.

state = StateFile("runs/mine/evaluation.npz", fingerprint="what is evaluated, and how")
evaluator(batches, state=state)      # killed and called again, it goes on where it was
"""

import contextlib
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sat_tf.errors import NonFinite
from sat_tf.evaluation.stream import Order
from sat_tf.files import replacing

# What is known of each example under an attack, and what it is before anything is.
_COLUMNS = {
    "attacked": False,
    "broken": False,
    "finite": True,
    "loss": np.float32(np.nan),
    "predicted": np.int32(-1),
    "runs": np.int32(0),
}


def fingerprint(settings: Any, variables: Iterable) -> str:
    """Returns a text that is another one where settings or values differ.

    Args:
      settings: what JSON can hold: all that decides on the numbers beside the network.
      variables: iterable of the network's tf.Variables.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for variable in variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()


class StateFile:
    """One file of arrays, written beside its place and renamed.

    Args:
      path: of the file; its folder has to exist.
      fingerprint: text that says what the state is of; one that was written for another is of no
        use.
      every_seconds: how often to write while an attack goes on.
      writing: returns a context manager for each access, to say what OSErrors mean.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        fingerprint: str,
        every_seconds: float = 5.0,
        writing: Callable = contextlib.nullcontext,
    ):
        self.path, self._fingerprint, self._every = path, fingerprint, every_seconds
        self._writing = writing
        self._due = time.monotonic() + every_seconds

    def load(self) -> dict:
        """Returns {name: array} as last written, {} where there is none of this evaluation."""
        with self._writing():  # what else keeps it from being read keeps it from being written
            try:
                with np.load(self.path, allow_pickle=False) as file:
                    found = {name: file[name] for name in file.files}
            except (FileNotFoundError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                return {}
        return found if str(found.pop("fingerprint", "")) == self._fingerprint else {}

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def save(self, arrays: dict) -> None:
        """Writes {name: array}."""
        start = time.monotonic()
        with self._writing(), replacing(self.path) as file:
            np.savez(file, fingerprint=np.array(self._fingerprint), **arrays)
        taken = time.monotonic() - start
        self._due = time.monotonic() + max(
            self._every, 20 * taken
        )  # at most a twentieth of the time

    def remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


class Progress:
    """What is known of every example under every attack, and where the present attack is.

    Its `order` is the stream.Order of the examples, to read them by.

    Args:
      on_batch: see `Evaluator`.
      state: a StateFile or None.
      keep: of how many first examples to hold what the attacks made of them.
      order: what was read before, where the state does not tell; None for nothing.
    """

    def __init__(self, on_batch, state, keep, order=None):
        self._on_batch, self._state, self._keep = on_batch, state, keep
        self._arrays = state.load() if state else {}
        if "digests" in self._arrays:
            self.order = Order(self._arrays["digests"], complete="clean/over" in self._arrays)
        else:  # nothing yet, or written by a version that could not recognise its data
            self._arrays, self.order = {}, Order() if order is None else order
        self._since = time.monotonic()

    def begin(self, name, wanted, share=None):
        """Starts an attack on the examples wanted, bool [examples], or None for all there are.

        Args:
          share: bool [examples], those that this worker attacks of them; None for all.
        Returns: bool [examples] or None, whom the attack is still to be run on; how many of these
          were taken; and a snapshot of its lanes, {} where it was not begun.
        """
        self._since = time.monotonic()
        if self._current == name:
            left = self._arrays.get("current/left")
        else:
            left = self._left(name, wanted if share is None else wanted & share)
            if left is not None and not left.any():  # all known; another one may be under way
                return left, 0, {}
            self._set_current(name, left)
        snapshot = {
            key[len("lanes/") :]: value
            for key, value in self._arrays.items()
            if key.startswith("lanes/")
        }
        return left, int(self._arrays["current/taken"]), snapshot

    def add(self, name, finished, taken, snapshot):
        """Enters examples that are finished; saves from time to time."""
        if finished:
            self._enter(name, finished)
        for key in [key for key in self._arrays if key.startswith("lanes/")]:
            del self._arrays[key]
        self._arrays.update({f"lanes/{key}": value for key, value in snapshot.items()})
        self._arrays["current/taken"] = np.array(taken)
        try:
            if self._on_batch:
                left = self._arrays.get("current/left")
                done = self._column(name, "attacked")
                self._on_batch(
                    name,
                    int(done.sum() if left is None else done[left].sum()),
                    None if left is None else int(left.sum()),
                )
        except BaseException:
            self._save(name)
            raise
        if self._state and self._state.is_due:
            self._save(name)

    def exchange(self, name, share, summed):
        """Enters what other workers have found under an attack, and gives them what this one has.

        Args:
          share: bool [examples], whose columns are this worker's.
          summed: array -> its sum over all workers.
        """
        for column in _COLUMNS:
            values = self._column(name, column)
            wide = values if values.dtype == np.float32 else values.astype(np.int32)
            values[:] = summed(np.where(share, wide, np.zeros_like(wide)))
        kept = self._arrays.get("clean/kept/images")
        if kept is not None:
            self._keep_rows(name, np.zeros(0, np.int32), {"adversarial": kept[:0]})
            rows = self._arrays[f"{name}/kept/adversarial"]
            ours = np.zeros(len(rows), bool)
            ours[: len(share)] = share[: len(rows)]
            ours = ours.reshape([-1] + [1] * (rows.ndim - 1))
            rows[:] = summed(np.where(ours, rows, np.zeros_like(rows)))

    def end(self, name):
        """Ends an attack.

        Raises: NonFinite where logits were not.
        """
        self._count_seconds(name)
        finite = self._column(name, "finite")
        if not finite.all():
            raise NonFinite(
                f"the logits of {(~finite).sum()} of {len(finite)} examples are not "
                f"finite ({name}): there is no accuracy to report"
            )
        if self._current == name:
            for key in [key for key in self._arrays if key.startswith(("lanes/", "current/"))]:
                del self._arrays[key]
        self._arrays[f"{name}/over"] = np.array(True)
        self.order.complete = True  # the clean images are the first to be read, all of them

    def finish(self):
        """Saves what is known, where there is a file for it."""
        if self._state:
            self._state.save({**self._arrays, "digests": self.order.digests})

    def columns(self, name) -> dict:
        """Returns what is known under an attack: {column: array [examples]}, and the seconds."""
        return {
            **{column: self._column(name, column) for column in _COLUMNS},
            "seconds": self._seconds(name),
        }

    def kept(self, name, what):
        """Returns `images`, `labels` or `adversarial` of the first examples, None without any."""
        return self._arrays.get(f"{name}/kept/{what}")

    @property
    def _current(self):
        return str(self._arrays.get("current/name", ""))

    def _set_current(self, name, left):
        self._arrays.update({"current/name": np.array(name), "current/taken": np.array(0)})
        if left is not None:
            self._arrays["current/left"] = left

    def _left(self, name, wanted):
        if wanted is not None:
            attacked = self._column(name, "attacked", len(wanted))
            return wanted & ~attacked
        over = f"{name}/over" in self._arrays
        return np.zeros_like(self._column(name, "attacked")) if over else None

    def _column(self, name, column, size=0):
        """Returns a column, made longer where there are more examples than it has."""
        key = f"{name}/{column}"
        there = self._arrays.get(key, np.zeros(0, np.asarray(_COLUMNS[column]).dtype))
        size = max(size, len(self._arrays.get("clean/attacked", ())))
        if len(there) < size:
            there = np.concatenate([there, np.full(size - len(there), _COLUMNS[column])])
            self._arrays[key] = there
        return there

    def _enter(self, name, finished):
        numbers = finished["number"]
        for column in _COLUMNS:
            values = self._column(name, column, int(numbers.max()) + 1)
            values[numbers] = True if column == "attacked" else finished[column]
        early = numbers < self._keep
        if early.any():
            self._keep_rows(
                name,
                numbers[early],
                {key: finished[key][early] for key in ("images", "labels", "adversarial")},
            )

    def _keep_rows(self, name, numbers, rows):
        for what, values in rows.items():
            key = f"{name}/kept/{what}"
            if key not in self._arrays:
                others = self._arrays.get(f"clean/kept/{what}")
                self._arrays[key] = (
                    np.zeros((self._keep, *values.shape[1:]), values.dtype)
                    if others is None
                    else others.copy()
                )
            self._arrays[key][numbers] = values

    def _seconds(self, name):
        return float(self._arrays.get(f"{name}/seconds", 0.0))

    def _count_seconds(self, name):
        now = time.monotonic()
        self._arrays[f"{name}/seconds"] = np.array(self._seconds(name) + now - self._since)
        self._since = now

    def _save(self, name):
        if self._state:
            self._count_seconds(name)
            self.finish()
