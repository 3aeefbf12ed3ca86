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
from sat_tf.training.callbacks.record import Record
from sat_tf.training.callbacks.throughput import Throughput

__all__ = [
    "AtEpochEnd",
    "CheckInterruption",
    "CountsEpochs",
    "Epochs",
    "Evaluate",
    "Record",
    "SaveEvery",
    "SaveState",
    "StopOnNonFinite",
    "Throughput",
]
