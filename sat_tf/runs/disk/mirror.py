"""A run's folder as the workers have it that do not write in it: a copy that goes with them.

with mirror.made("runs/mine") as place:      # a temporary folder
    ...                                      # the same run, to go on with; what is written is lost

All workers of a run do the same, the saving of states included, in which they have to meet; but
only the chief's files are to stay.  Checkpoints are linked to, since they are large and never
changed.
"""

import os
import shutil
import tempfile

_SMALL = ("config.json", "metrics.jsonl", "import.json", "results.json", "predictions.csv")
_CHECKPOINTS = ("checkpoints", os.path.join("checkpoints", "best"))
_LIST = "checkpoint"  # TensorFlow's list of those in a folder, which is replaced at each save


def made(path: str) -> tempfile.TemporaryDirectory:
    """Returns a temporary folder with what a run in `path` goes on from."""
    made = tempfile.TemporaryDirectory(prefix="sat_tf-worker-")
    for name in _SMALL:
        if os.path.isfile(os.path.join(path, name)):
            shutil.copyfile(os.path.join(path, name), os.path.join(made.name, name))
    for folder in _CHECKPOINTS:
        source, place = os.path.join(path, folder), os.path.join(made.name, folder)
        for name in os.listdir(source) if os.path.isdir(source) else ():
            os.makedirs(place, exist_ok=True)
            file = os.path.abspath(os.path.join(source, name))
            if name == _LIST:
                shutil.copyfile(file, os.path.join(place, name))
            elif os.path.isfile(file):
                os.symlink(file, os.path.join(place, name))
    return made
