"""How a run is cut into `fit` calls, by plan and by accident."""

import shutil

import pytest
import written
from command_line import newest, state
from watched_runs import assert_same, interrupt_at, network, run

import main
from sat_tf.interruption import Interrupted
from sat_tf.runs.segments import epoch_segments
from sat_tf.runs.training_measurement import TrainingMeasurement
from sat_tf.training import callbacks


@pytest.mark.parametrize(
    "start, stop, expected",
    [
        (0, 12, [(0, 3, 4)]),
        (0, 2, [(0, 1, 2)]),
        (6, 12, [(1, 2, 2), (2, 3, 4)]),
        (6, 7, [(1, 2, 1)]),
        (5, 14, [(1, 2, 3), (2, 3, 4), (3, 4, 2)]),
        (12, 12, []),
    ],
)
def test_segments_take_every_step_once(start, stop, expected):
    assert list(epoch_segments(start, stop, 4)) == expected
    assert sum((last - first) * steps for first, last, steps in expected) == stop - start


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("sat_tf.models.build", network)


class _Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.smoke
def test_a_run_cut_anywhere_decides_as_a_whole_one(tmp_path, monkeypatch, capsys):
    """On two replicas, with what is really measured."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = (
        "--validation_examples=8",
        "--epochs=4",
        "--catastrophic_drop=0.9",
        "--ema_decay=0.9",
        "--strategy=mirrored",
        "--validation_attack=pgd-2",
        "--learning_rate=0.3",
        "--epsilon=8/255",
    )
    assert run(whole, *command, "--mode=train") == 0

    interrupt_at(monkeypatch, 2, 12)  # in the first epoch, and as the third ends
    assert run(cut, *command, "--mode=train") == 130
    assert main.main(["main.py", "--mode=eval", f"--model_dir={cut}"]) == 2
    assert "--eval_checkpoint=best: " in capsys.readouterr().err
    ended = shutil.copytree(cut, tmp_path / "ended")
    for _ in range(2):  # the end is where it was cut, and is judged once
        assert run(ended, *command, "--mode=train", "--train_steps=2") == 0
    assert newest(ended).endswith("checkpoint-at-step-2")
    assert [(row["step"], row["best_step"]) for row in written.rows(ended, "validation")] == [
        (2, 2)
    ]
    with monkeypatch.context() as patched:  # after the best is kept, before the state that says so
        patched.setattr(callbacks.SaveState, "on_epoch_end", _kill)
        with pytest.raises(_Killed):
            run(cut, *command, "--mode=train")
    with monkeypatch.context() as patched:
        patched.setattr(TrainingMeasurement, "held_out", _interrupted)
        assert run(cut, *command, "--mode=train") == 143
    assert newest(cut).endswith("checkpoint-undecided-at-step-4")
    assert run(cut, *command, "--mode=train") == 130
    assert newest(cut).endswith("checkpoint-undecided-at-step-12")
    assert run(cut, *command, "--mode=train") == 0

    assert_same(state(newest(whole)), state(newest(cut)))
    judged = ("step", "clean_accuracy", "robust_accuracy", "best_step", "examples")
    expected, found = (
        [[row[key] for key in judged] for row in written.rows(folder, "validation")]
        for folder in (whole, cut)
    )
    assert expected == found and [row[0] for row in found] == [4, 8, 12, 16]
    assert found[-1][-1] == 8 and len({row[2]["pgd-2"] for row in found}) > 1
    best = f"checkpoints/best/checkpoint-at-step-{found[-1][3]}"
    assert_same(state(whole / best), state(cut / best))


def _kill(self, epoch, logs=None):
    raise _Killed


def _interrupted(self, on_batch):
    raise Interrupted(15)


@pytest.mark.slow
def test_an_unwatched_state_has_nothing_of_it(tmp_path):
    assert run(tmp_path, "--train_steps=1", "--mode=train") == 0
    assert not [name for name in state(newest(tmp_path)) if name.startswith("watch")]
    assert not (tmp_path / "checkpoints" / "best").exists()
