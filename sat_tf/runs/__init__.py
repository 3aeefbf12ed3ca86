"""What a command does with all of it: train, measure, export, classify, in a run's folder.

from sat_tf import runs
folder = runs.RunFolder("runs/example")
run = runs.Run(config, strategy, folder, description, network)
run.train(interruption)
run.evaluate(interruption)
"""

from sat_tf.runs import (
    activation_transfer,
    checkpoints,
    networks,
    plugins,
    predict,
    telling,
    workers,
)
from sat_tf.runs.folder import RunFolder
from sat_tf.runs.rehearsal import rehearse
from sat_tf.runs.run import Run
from sat_tf.runs.weights import Initial

__all__ = [
    "Initial",
    "Run",
    "RunFolder",
    "activation_transfer",
    "checkpoints",
    "networks",
    "plugins",
    "predict",
    "rehearse",
    "telling",
    "workers",
]
