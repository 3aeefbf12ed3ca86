"""What the workers of one run tell each other.

worker = worker_of(strategy)                        # which this is, of how many
total = summed(strategy, np.array([3, 4]))          # over all workers, on each of them
texts = gathered(strategy, "what this one has")     # of every worker, on each of them

All of these are collective: each worker has to call them, in the same order.  A process that works
alone calls them too, and nothing is sent.
"""

import contextlib
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from sat_tf.errors import RunFailure, one_line

_TASK = re.compile(r"/job:worker/(?:replica:0/)?task:(\d+)")
# What TensorFlow raises where another process is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Worker(NamedTuple):
    """Which worker of a run a process is, and of how many."""

    index: int = 0
    count: int = 1


def worker_of(strategy: tf.distribute.Strategy) -> Worker:
    """Returns which worker of a strategy this process is."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Worker()
    resolver = strategy.cluster_resolver
    return Worker(int(resolver.task_id), len(resolver.cluster_spec().as_dict()["worker"]))


def share_of(strategy: tf.distribute.Strategy, count: int) -> np.ndarray:
    """Returns bool [count]: which of so many things this worker does; each is somebody's."""
    worker = worker_of(strategy)
    return np.arange(count) % worker.count == worker.index


def summed(strategy: tf.distribute.Strategy, array: np.ndarray) -> np.ndarray:
    """Returns the sum of an array over all workers.

    Args:
      strategy: that of the workers.
      array: int32, int64 or floating, of the same shape on each.
    """
    if worker_of(strategy).count == 1:
        return array
    first = []  # a worker counts once, however many replicas it has

    def of_replica(unused_context):
        first.append(not first)
        return tf.constant(array if first[-1] else np.zeros_like(array))

    values = strategy.experimental_distribute_values_from_function(of_replica)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()


def gathered(strategy: tf.distribute.Strategy, text: str) -> list[str]:
    """Returns the texts of all workers, in their order."""
    worker = worker_of(strategy)
    codes = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(np.int32)
    sizes = np.zeros(worker.count, np.int32)
    sizes[worker.index] = len(codes)
    sizes = summed(strategy, sizes)
    table = np.zeros((worker.count, sizes.max()), np.int32)
    table[worker.index, : len(codes)] = codes
    return [
        bytes(row[:size].astype(np.uint8)).decode("utf-8", "surrogateescape")
        for row, size in zip(summed(strategy, table), sizes)
    ]


def agreement_of(strategy: tf.distribute.Strategy) -> Callable[[int], int] | None:
    """Returns what gives each worker the highest of the numbers that all of them have.

    None where a process is alone, and has nobody to agree with.
    """
    worker = worker_of(strategy)
    if worker.count == 1:
        return None

    def highest(number):
        column = np.zeros(worker.count, np.int32)
        column[worker.index] = number
        return int(summed(strategy, column).max())

    return highest


@contextlib.contextmanager
def losses_named(strategy: tf.distribute.Strategy):
    """Turns the loss of another worker, in a block, into a RunFailure that names it."""
    try:
        yield
    except _LOST as error:
        worker = worker_of(strategy)
        if worker.count == 1:
            raise
        lost = sorted({*map(int, _TASK.findall(str(error)))} - {worker.index})
        named = f"worker {', '.join(map(str, lost))} is" if lost else "another worker is"
        raise RunFailure(
            f"{named} gone ({one_line(error)[:200]}); the same command on all workers goes on "
            "from the last checkpoint"
        ) from error
