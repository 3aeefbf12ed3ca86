"""Which checkpoint a path, or a run's folder, means.

prefix = resolve("runs/example")                 # the one that the run is evaluated with
kept_of("runs/example")                          # {"best": prefix, "last": prefix}, or {}
"""

import os
import re

import tensorflow as tf

from sat_tf import errors, release
from sat_tf.runs.folder import RunFolder
from sat_tf.training import Stop, Watch, checkpoints

BEST = "best"  # the folder of the best checkpoints, beside the others
_FILE_ENDING = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def find(path: str, flag="init_checkpoint") -> str:
    """Returns the checkpoint prefix that `path` means, or the file where it is of one file.

    Args:
      path: a prefix; one of a checkpoint's files; an .npz file; a run's folder or another one with
        checkpoints, whose newest is meant.
    Raises: UserError, naming `flag`, where there is none, or several and none is the newest.
    """
    for folder in (path, os.path.join(path, "checkpoints")):
        if os.path.isdir(folder) and (latest := checkpoints.latest_in(folder)):
            return latest
    prefixes = _prefixes_in(path) if os.path.isdir(path) else []
    if len(prefixes) > 1:
        raise errors.UserError(
            f"--{flag}={path}: several checkpoints there "
            f"({errors.few(prefixes)}); give the path of one"
        )
    prefix = os.path.join(path, prefixes[0]) if prefixes else _FILE_ENDING.sub("", path)
    if os.path.exists(prefix + ".index"):
        return prefix
    if os.path.isfile(path):  # an .npz file, or TensorFlow's older format
        return path
    folder = run_of(path)
    if RunFolder(folder).is_being_replaced:
        raise errors.UserError(
            f"--{flag}={path}: no checkpoint there now, a killed command was replacing the run; "
            f"a command with --model_dir={folder} puts it back"
        )
    raise errors.UserError(
        f"--{flag}={path}: no checkpoint there; give a run folder, a "
        "checkpoint's path without .index or .data, or an .npz file"
    )


def _prefixes_in(folder):
    """The checkpoints of a folder whose `checkpoint` file is missing or names another place."""
    return sorted(
        name.removesuffix(".index") for name in os.listdir(folder) if name.endswith(".index")
    )


def run_of(path: str) -> str:
    """Returns the run folder that a path for `find` lies in, or would."""
    folder = os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path))
    parent, name = os.path.split(folder)
    if name == BEST and os.path.basename(parent) == "checkpoints":
        return os.path.dirname(parent)
    return path if os.path.isdir(path) and name != "checkpoints" else parent


def is_run(path: str) -> bool:
    """Whether `path` is a run's folder, with checkpoints in it."""
    return _latest_of(path) is not None


def _latest_of(path):
    folder = os.path.join(path, "checkpoints")
    return checkpoints.latest_in(folder) if os.path.isdir(folder) else None


def kept_of(path: str) -> dict[str, str]:
    """Returns {"best": prefix, "last": prefix} of a run's folder.

    Empty where `path` is none, or of a run without a best checkpoint.  The newest state says which
    one is the best: a killed run may have left another that no state knows of.
    """
    last = _latest_of(path)
    watch = last and _watch_of(last)
    if not watch or watch.best_step < 0:
        return {}
    return {
        "best": checkpoints.prefix_at(f"{path}/checkpoints/{BEST}", int(watch.best_step)),
        "last": last,
    }


def resolve(path: str, flag="init_checkpoint", chosen: str | None = None) -> str:
    """Returns the checkpoint that `path` means where its weights are used.

    Of a run's folder that is the one the run is evaluated with, else what `find` returns.

    Args:
      path: as for `find`.
      chosen: "best" or "last"; None for what the run's config.json says.
    Raises: UserError, naming `flag`, where there is none, or no best one yet.
    """
    latest = _latest_of(path)
    if latest is None:
        return find(path, flag)
    if chosen is None:
        config = RunFolder(path).stored_config(flag)
        chosen = config.evaluation.checkpoint if config else "last"
    kept = kept_of(path)
    if chosen == "best" and not kept:
        raise errors.UserError(
            f"--{flag}={path}: has no best checkpoint yet; train on there, or "
            f"name its newest, {latest}"
        )
    return kept.get(chosen, latest)


def stop_of(prefix: str) -> Stop | None:
    """Returns why training ended early at a checkpoint, as `Watch.stop`, or None.

    Patience and length are those of the run it lies in; where there is none, only a collapse shows.
    """
    watch = _watch_of(prefix)
    config = watch and RunFolder(run_of(prefix)).stored_config()
    if not config:
        return watch and watch.stop(0, at_end=False)
    return watch.stop(
        config.evaluation.patience,
        at_end=checkpoints.step_of(prefix) >= config.optimizer.train_steps,
    )


def _watch_of(prefix):
    """Returns the Watch in a checkpoint, or None where its run was not watched."""
    if not os.path.exists(prefix + ".index") or not any(
        key.startswith("watch/") for key in release.read(prefix, "model_dir").shapes
    ):
        return None
    watch = Watch()
    checkpoints.restore(tf.train.Checkpoint(watch=watch), prefix, flag="model_dir", partial=True)
    return watch
