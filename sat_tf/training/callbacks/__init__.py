"""Keras callbacks of a run: what happens between batches and between epochs.

`Throughput` comes first in the list, since the later ones show what it measures.
"""

from sat_tf.training.callbacks.between import (
    AtEpochEnd,
    CheckInterruption,
    Evaluate,
    SaveEvery,
    SaveState,
    StopOnNonFinite,
)
from sat_tf.training.callbacks.epochs import CountsEpochs, Epochs
from sat_tf.training.callbacks.progress import Progress, Throughput
from sat_tf.training.callbacks.record import Record

__all__ = [
    "AtEpochEnd",
    "CheckInterruption",
    "CountsEpochs",
    "Epochs",
    "Evaluate",
    "Progress",
    "Record",
    "SaveEvery",
    "SaveState",
    "StopOnNonFinite",
    "Throughput",
]
