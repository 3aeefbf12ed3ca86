"""A run's folder as the workers have it that do not write in it: a copy that goes with them.

with mirror.made("runs/mine", ["config.json"], ["checkpoints"]) as place:    # a temporary folder
    ...                       # the same run, to go on with; what is written is lost

All workers of a run do the same, the saving of states included, in which they have to meet; but
only the chief's files are to stay.  Checkpoints are linked to, since they are large and never
changed.
"""

import os
import shutil
from collections.abc import Iterable
from tempfile import TemporaryDirectory

_LIST = "checkpoint"  # TensorFlow's list of those in a folder, which is replaced at each save


def made(path: str, files: Iterable[str], checkpoints: Iterable[str]) -> TemporaryDirectory:
    """Returns a temporary folder with what a run goes on from.

    Args:
      path: the run's folder.
      files, checkpoints: what is copied of it, and the folders of checkpoints, relative to it.
    """
    made = TemporaryDirectory(prefix="sat_tf-worker-")
    for name in files:
        if os.path.isfile(os.path.join(path, name)):
            shutil.copyfile(os.path.join(path, name), os.path.join(made.name, name))
    for folder in checkpoints:
        source, place = os.path.join(path, folder), os.path.join(made.name, folder)
        for name in os.listdir(source) if os.path.isdir(source) else ():
            os.makedirs(place, exist_ok=True)
            file = os.path.abspath(os.path.join(source, name))
            if name == _LIST:
                shutil.copyfile(file, os.path.join(place, name))
            elif os.path.isfile(file):
                os.symlink(file, os.path.join(place, name))
    return made
