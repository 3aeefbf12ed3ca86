"""Runs that are gone on with, begun anew, or begun with the weights of others."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import written
from command_line import ROOT, SHORT, STANDARD, newest, run, weights

from flags import definitions, subjects, to_config
from sat_tf import data, errors
from sat_tf.models import build as build_in_full
from sat_tf.runs.folder import RunFolder
from sat_tf.training import callbacks

pytestmark = pytest.mark.usefixtures("small_networks")


def test_a_run_of_before_there_was_a_setting_goes_on_in_its_default_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def parsed(*arguments):
        flags = definitions.define()
        definitions.parse(flags, ["main.py", "--method=fast", *arguments])
        return flags

    flags = parsed("--catastrophic_drop=0")
    folder = RunFolder(to_config.default_model_dir(flags))
    folder.start(to_config.to_config(flags), data.describe("digits"))
    with pytest.raises(errors.UserError, match=r"catastrophic_drop \(0.0 there, 0.2 now\)"):
        subjects.of(parsed())  # it was chosen then
    values = json.loads(pathlib.Path(folder.config).read_text())
    del values["method"]["catastrophic_drop"], values["evaluation"]["patience"]
    pathlib.Path(folder.config).write_text(json.dumps(values))
    assert subjects.of(parsed()).config.method.catastrophic_drop == 0
    for given in "--catastrophic_drop=0.2", "--trades_beta=2":
        with pytest.raises(errors.UserError, match="holds a run with other settings"):
            subjects.of(parsed(given))


def test_the_same_command_again_trains_nothing_more(small_run, tmp_path, capsys):
    folder = shutil.copytree(small_run, tmp_path / "run")
    rows = len(written.rows(folder, "train"))
    assert run(*SHORT, f"--model_dir={folder}", "--epochs=2", "--mode=train") == 0
    assert "continuing from" in capsys.readouterr().out
    assert len(written.rows(folder, "train")) == rows


@pytest.mark.parametrize("full_depth", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_interrupted_run_goes_on_bitwise(full_depth, tmp_path, monkeypatch, capsys):
    """SIGINT in the middle of the second epoch, then the same command."""
    if full_depth:
        monkeypatch.setattr("sat_tf.models.build", build_in_full)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = [*SHORT, "--epochs=3", "--mode=train", "--ema_decay=0.9"]
    assert run(*command, f"--model_dir={whole}") == 0
    steps = []

    def send_signal(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == 6:
            os.kill(os.getpid(), signal.SIGINT)
        self._interruption.check()

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.CheckInterruption, "on_train_batch_end", send_signal)
        assert run(*command, f"--model_dir={parts}") == 130
    assert newest(parts).endswith("-6")
    assert "goes on from there" in capsys.readouterr().err
    assert run(*command, f"--model_dir={parts}") == 0
    expected, resumed = weights(whole), weights(parts)
    assert set(expected) == set(resumed)
    for name, value in expected.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
    assert [row["step"] for row in written.rows(parts)] == [4, 8, 12]


def test_resume_false_starts_anew(tmp_path):
    command = (*STANDARD, f"--model_dir={tmp_path}", "--mode=train")
    assert run(*command, "--train_steps=2") == 0
    (tmp_path / "notes.txt").write_text("mine")
    assert run(*command, "--train_steps=1", "--activation=relu", "--resume=false") == 0
    assert [row["step"] for row in written.rows(tmp_path)] == [1]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_init_checkpoint_starts_and_evaluates_another_run(small_run, tmp_path, capsys):
    initial = f"--init_checkpoint={small_run}"
    command = (
        *(*STANDARD, "--mode=train", "--train_steps=1", "--learning_rate=0"),
        *(f"--model_dir={tmp_path}/new", initial),
    )
    assert run(*command) == 0
    begun_with = json.loads((tmp_path / "new" / "config.json").read_text())["init_checkpoint"]
    assert begun_with["path"] == str(small_run)
    assert run(*command) == 0  # the same again
    assert "--init_checkpoint is not read" in capsys.readouterr().err
    old, new = weights(small_run), weights(tmp_path / "new")
    kernel = next(name for name in old if "kernel" in name and name.startswith("classifier"))
    np.testing.assert_array_equal(old[kernel], new[kernel])
    measure = ("--mode=eval", f"--model_dir={tmp_path}/other", "--eval_attacks=clean")
    assert run(*measure, initial) == 0
    assert (tmp_path / "other" / "results.json").exists()


def test_a_non_finite_loss_stops_the_run_and_keeps_the_last_good_state(tmp_path, capsys):
    command = (*SHORT, f"--model_dir={tmp_path}", "--mode=train", "--learning_rate=1e20")
    assert run(*command, "--train_steps=4") in (0, 1)  # one good epoch may come first
    assert run(*command, "--train_steps=40") == 1
    error = capsys.readouterr().err
    assert "step" in error and "learning rate 1e+20" in error and "last good checkpoint" in error
    if newest(tmp_path):
        assert all(
            np.isfinite(v).all() for v in weights(tmp_path).values() if v.dtype == np.float32
        )


@pytest.mark.slow
@pytest.mark.smoke
def test_sigterm_and_again_in_processes_of_their_own(tmp_path):
    command = [
        sys.executable,
        "main.py",
        *SHORT,
        "--epochs=400",
        "--mode=train",
        f"--model_dir={tmp_path}",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.startswith("epoch 3/"):
                process.send_signal(signal.SIGTERM)
                break
        assert process.wait(timeout=120) == 143
    finally:
        process.kill()
    stopped = int(tf.train.latest_checkpoint(str(tmp_path / "checkpoints")).rsplit("-", 1)[1])
    assert 12 <= stopped < 400 * 4
    command = [
        argument.replace("--epochs=400", f"--train_steps={stopped + 2}") for argument in command
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert f"continuing from {tmp_path}/checkpoints/checkpoint-at-step-{stopped}" in done.stdout


@pytest.mark.slow
def test_what_is_killed_between_a_save_and_the_end_of_an_epoch_goes_on_bitwise(tmp_path):
    command = [
        *(sys.executable, "tests/command_line.py", *STANDARD, "--mode=train", "--epochs=1"),
        *("--train_examples=1400", "--save_every=5"),
    ]
    killed = [*command, f"--model_dir={tmp_path}/killed"]
    process = subprocess.Popen(killed, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not (tmp_path / "killed" / "checkpoints" / "checkpoint").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()  # SIGKILL: nothing is said or saved any more
    assert process.wait() == -signal.SIGKILL
    saved = int(newest(tmp_path / "killed").rsplit("-", 1)[1])
    assert 0 < saved < 87
    again = subprocess.run(killed, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (
        f"continuing from {newest(tmp_path / 'killed').rsplit('-', 1)[0]}-{saved}" in again.stdout
    )
    whole = [*command, f"--model_dir={tmp_path}/whole"]
    subprocess.run(whole, cwd=ROOT, capture_output=True, check=True)
    for name, value in weights(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, weights(tmp_path / "killed")[name], err_msg=name)


def test_what_a_killed_replacement_has_left_is_a_run_to_every_command(small_run, tmp_path, capfd):
    """An evaluation of a SavedModel there would else be taken for a part of the new run."""
    folder = shutil.copytree(small_run, tmp_path / "run")
    os.mkdir(folder / ".replaced")
    for name in ("config.json", "metrics.jsonl", "results.json"):
        os.rename(folder / name, folder / ".replaced" / name)
    assert (
        run("--mode=eval", f"--saved_model={small_run}/saved_model", f"--model_dir={folder}") == 2
    )
    assert "holds a run" in capfd.readouterr().err
    assert (folder / "config.json").read_bytes() == (small_run / "config.json").read_bytes()
    assert not (folder / ".replaced").exists()
