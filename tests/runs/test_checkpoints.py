"""Which checkpoint a path, or a run's folder, means."""

import pytest
import tensorflow as tf

from flags import definitions, to_config
from sat_tf import data, errors, training
from sat_tf.runs import checkpoints
from sat_tf.runs import folder as run_folder
from sat_tf.training.watch import Watch


def _watched_run(path, *arguments, best_step):
    """A run folder with a best checkpoint at step 1 and the newest at step 2; returns their
    prefixes."""
    flags = definitions.define()
    definitions.parse(flags, ["main.py", "--validation_examples=8", *arguments])
    folder = run_folder.RunFolder(str(path))
    folder.start(to_config.to_config(flags), data.describe("digits"))
    watch = Watch()
    watch.best_step.assign(best_step)
    state = tf.train.Checkpoint(watch=watch)
    return [
        training.checkpoints.Checkpoints(state, directory).save(step)
        for directory, step in ((folder.best, 1), (folder.checkpoints, 2))
    ]


def test_a_run_folder_means_the_checkpoint_that_the_run_is_evaluated_with(tmp_path):
    run, other, new = (tmp_path / name for name in ("run", "other", "new"))
    best, newest = _watched_run(run, best_step=1)
    assert checkpoints.resolve(str(run)) == best
    assert checkpoints.resolve(str(run), chosen="last") == newest
    assert checkpoints.resolve(newest) == newest  # what is named is taken
    assert checkpoints.resolve(str(run / "checkpoints")) == newest
    _, newest = _watched_run(other, "--eval_checkpoint=last", best_step=1)
    assert checkpoints.resolve(str(other)) == newest
    _, newest = _watched_run(new, best_step=-1)
    with pytest.raises(errors.UserError, match=f"--sparta_from={new}: .*, or name .*, {newest}"):
        checkpoints.resolve(str(new), "sparta_from")


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(errors.UserError, match="--init_checkpoint=.*: no checkpoint there"):
        checkpoints.find(str(tmp_path / "nothing"))


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/checkpoint-at-step-3"])
def test_a_run_that_a_killed_command_was_replacing_is_said(path, tmp_path):
    (tmp_path / ".replaced" / "checkpoints").mkdir(parents=True)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(
        errors.UserError,
        match=f"killed command was replacing .* --model_dir={tmp_path} puts it back",
    ):
        checkpoints.find(str(tmp_path / path).rstrip("/"))


@pytest.mark.parametrize(
    "path",
    ["run", "run/checkpoints", "run/checkpoints/best", "run/checkpoints/best/checkpoint-at-step-3"],
)
def test_the_run_of_a_path(path, tmp_path):
    (tmp_path / "run" / "checkpoints" / "best").mkdir(parents=True)
    assert checkpoints.run_of(str(tmp_path / path)) == str(tmp_path / "run")
