"""What a command refuses: one line, exit status 2, and nothing is touched."""

import os
import shutil

import pytest
import tensorflow as tf
from command_line import SHORT, STANDARD, newest, run

pytestmark = pytest.mark.usefixtures("small_networks")

ERRORS = {
    (
        "--strategy=auto",
        "--workers=a:1,b:2",
    ): "--workers=a:1,b:2: which of them this is, is not said",
    ("--strategy=multi_worker",): "--strategy=multi_worker: who the workers are is not said",
    (
        "--mode=predict",
        "--images=x.png",
        "--strategy=multi_worker",
        "--workers=a:1",
        "--worker_index=0",
    ): "--mode=predict: is the work of one process",
    ("--mode=eval", "--model_dir={empty}"): "no run there",
    ("--mode=predict", "--model_dir={empty}"): "--images=: nothing to classify",
    ("--mode=predict", "--model_dir={finished}", "--images={empty}/*.png"): "--images=",
    ("--mode=predict", "--model_dir={finished}", "--images={broken}"): "broken.png",
    ("--init_checkpoint={empty}/none",): "no checkpoint there",
    (
        "--mode=eval",
        "--model_dir={empty}",
        "--init_checkpoint={finished}",
        "--model=resnet18",
    ): "its network differs",
    ("--tpu=local", "--strategy=tpu"): "--tpu=local: no TPU there",
    ("--strategy=tpu",): "no TPU was named",
    ("--batch_size=15", "--strategy=mirrored"): "--batch_size=15: not divisible by the 2 replicas",
    ("--eval_batch_size=15", "--strategy=mirrored"): "--eval_batch_size=15: not divisible",
    ("--model_dir={file}/run",): "cannot write",
}


@pytest.mark.parametrize("arguments", ERRORS, ids=lambda a: " ".join(a)[:40])
def test_user_errors_are_one_line_and_exit_2(arguments, small_run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "file").write_text("")
    places = dict(
        empty=tmp_path / "empty",
        broken=tmp_path / "broken.png",
        finished=small_run,
        file=tmp_path / "file",
    )
    given = [argument.format(**places) for argument in arguments]
    if not any(argument.startswith("--model_dir") for argument in given):
        given.append(f"--model_dir={tmp_path / 'new'}")
    if not any(argument.startswith("--mode=") for argument in given):
        given = [*SHORT, "--train_steps=1", *given]
    assert run(*given) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert ERRORS[arguments] in captured.err
    assert os.listdir(tmp_path / "empty") == []
    assert not (tmp_path / "new").exists()


def test_another_configuration_is_refused_and_nothing_touched(small_run, capsys):
    before = {f: f.stat().st_mtime_ns for f in small_run.rglob("*") if f.is_file()}
    command = (*SHORT, f"--model_dir={small_run}", "--epochs=2")
    assert run(*command, "--activation=relu", "--learning_rate=0.5") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --model_dir=") and error.count("\n") == 1
    assert "activation (swish there, relu now)" in error and "learning_rate" in error
    assert run("--mode=eval", f"--model_dir={small_run}", "--model=resnet18") == 2
    assert "model (resnet20 there, resnet18 now)" in capsys.readouterr().err
    assert {f: f.stat().st_mtime_ns for f in small_run.rglob("*") if f.is_file()} == before


def test_a_checkpoint_of_another_model_is_refused(small_run, tmp_path, capsys):
    assert (
        run(
            *STANDARD,
            "--train_steps=1",
            "--model=resnet18",
            f"--init_checkpoint={newest(small_run)}",
            f"--model_dir={tmp_path}/new",
        )
        == 2
    )
    error = capsys.readouterr().err
    assert "is of another model" in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_results_of_another_runs_checkpoint_go_elsewhere(small_run, tmp_path, capsys):
    other = tmp_path / "other"
    command = (*STANDARD, f"--model_dir={other}", "--train_steps=1", "--mode=train")
    assert run(*command, "--activation=relu") == 0
    for initial in (small_run, small_run / "checkpoints", newest(small_run)):
        assert run("--mode=eval", f"--model_dir={other}", f"--init_checkpoint={initial}") == 2
        assert "holds another run" in capsys.readouterr().err
    assert not (other / "results.json").exists()


def test_resume_false_takes_nothing_but_a_run(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "thesis.ckpt").write_text("mine")
    (tmp_path / "config.json").write_text('{"mine": 1}')
    command = (*SHORT, f"--model_dir={tmp_path}", "--train_steps=1", "--resume=false")
    assert run(*command) == 2
    assert capsys.readouterr().err.startswith("error: --model_dir=")
    (tmp_path / "config.json").unlink()
    assert run(*command) == 2
    assert "is not of a run" in capsys.readouterr().err
    assert (tmp_path / "checkpoints" / "thesis.ckpt").read_text() == "mine"


def test_a_damaged_or_longer_run_is_refused_before_anything_is_written(tmp_path, capsys):
    command = [*STANDARD, f"--model_dir={tmp_path}", "--mode=train"]
    assert run(*command, "--train_steps=3") == 0
    config = (tmp_path / "config.json").read_bytes()
    assert run(*command, "--train_steps=1") == 2
    assert "--train_steps=1: the run is at step 3 already" in capsys.readouterr().err
    for file in (tmp_path / "checkpoints").glob("*data*"):
        os.truncate(file, 100)
    assert run(*command, "--train_steps=9") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --model_dir: checkpoint ") and error.count("\n") == 1
    assert (tmp_path / "config.json").read_bytes() == config


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(tmp_path, monkeypatch, capsys):
    command = [*STANDARD, f"--model_dir={tmp_path}", "--mode=train"]
    assert run(*command, "--train_steps=4") == 0
    kept = newest(tmp_path)

    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "write failed; No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    assert run(*command, "--train_steps=8") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --model_dir=") and "No space left on device" in error
    assert error.count("\n") == 1
    assert newest(tmp_path) == kept


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_folder_is_refused_by_the_flag_that_names_it(mode, small_run, tmp_path, capsys):
    run_there = shutil.copytree(small_run, tmp_path / "run")
    (run_there / "config.json").write_text("[]")
    command = (*STANDARD, f"--mode={mode}", f"--init_checkpoint={run_there}")
    assert run(*command, f"--model_dir={tmp_path}/other") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --init_checkpoint={run_there}: config.json cannot be read")
    assert error.count("\n") == 1 and not (tmp_path / "other").exists()
