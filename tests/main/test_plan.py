"""What a command says before and while it works, and a dry run, of which nothing stays."""

import glob
import json
import os
import re

import pytest
import tensorflow as tf
from command_line import SHORT, run

from sat_tf import distribution

pytestmark = pytest.mark.usefixtures("small_networks")


def test_the_plan_is_said_before_anything_is_loaded_or_built(tmp_path, capsys):
    folder = f"{tmp_path}/run"
    asked = (*SHORT, "--eval_attacks=clean,fgsm", f"--model_dir={folder}", "--train_steps=6")
    assert run(*asked, "--sam_rho=0.05", "--method=trades") == 0
    said = capsys.readouterr().out.splitlines()
    plan = dict(line.split(maxsplit=1) for line in said[:8])
    assert plan == {
        "mode": "train_and_eval",
        "network": "resnet20, swish, images of 8 x 8 pixels, 10 classes",
        "data": "digits: 64 of 1,437 images to train on, 20 of 360 to measure on",
        "method": "trades with SAM (rho 0.05), 1 attack step of 51/255 within 51/255 (linf): "
        "6 passes a step",
        "length": "6 steps of 16 images: 2 epochs of 4 steps",
        "measures": "clean, fgsm within 51/255 (linf), 16 at a time",
        "devices": f"1 {_cpus()}, {_cores()}; OneDeviceStrategy, float32",
        "folder": folder,
    }
    built = next(number for number, line in enumerate(said) if line.startswith("building the"))
    parameters = re.search(r"building the network: .* s, ([\d,]+) parameters", said[built])[1]
    assert int(parameters.replace(",", "")) > 100
    assert any("tracing and compiling the training step" in line for line in said)


def _cpus():
    count = len(tf.config.list_logical_devices("CPU"))
    return f"virtual CPU of {count}" if count > 1 else "CPU"


def _cores():
    count = len(os.sched_getaffinity(0))
    return "1 core" if count == 1 else f"{count} cores"


@pytest.mark.parametrize("mode", ["train_and_eval", "train"])
def test_a_dry_run_says_all_and_leaves_nothing(mode, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*SHORT, "--epochs=2", "--dry_run", f"--mode={mode}", "--ema_decay=0.9") == 0
    said = capsys.readouterr().out
    assert not os.listdir(tmp_path)
    assert json.loads(said[said.index("{") : said.rindex("}") + 1])["data"]["batch_size"] == 16
    rows = dict(re.findall(r"^(parameters|an image|a step|checkpoint) +(.*)$", said, re.MULTILINE))
    parameters = int(rows["parameters"].replace(",", ""))
    # Weights, momentum and average, four bytes each; batch statistics have no momentum.
    size, unit = rows["checkpoint"].split()
    checkpoint = float(size) * {"kB": 1e3, "MB": 1e6}[unit]
    assert 0.9 * 8 * parameters < checkpoint < 1.1 * 12 * parameters + 1000
    assert "FLOP forward" in rows["an image"] and "2 passes of 16 images" in rows["a step"]
    assert re.search(r"^estimate of what is left: training \d", said, re.MULTILINE)
    assert ("evaluation up to" in said) == (mode == "train_and_eval")
    assert said.endswith("dry run: nothing was trained and nothing is written\n")


@pytest.mark.parametrize("mode", ["train", "eval", "export", "predict"])
def test_a_dry_run_leaves_a_run_as_it_is(mode, small_run, capsys):
    before = {path: os.stat(path).st_mtime_ns for path in _files(small_run)}
    flags = ["--images=*.png"] if mode == "predict" else []
    assert run("--dry_run", f"--mode={mode}", f"--model_dir={small_run}", *flags) == 0
    assert {path: os.stat(path).st_mtime_ns for path in _files(small_run)} == before
    said = capsys.readouterr().out
    assert "nothing is written" in said and f"mode      {mode}" in said
    assert ("evaluation up to" in said) == (mode == "eval")


def _files(folder):
    return sorted(glob.glob(f"{folder}/**", recursive=True, include_hidden=True))


def test_a_dry_run_downloads_nothing(capsys):
    assert run("--dry_run", "--download", "--dataset=cifar10") == 2
    assert capsys.readouterr().err.startswith("error: --download=true: a dry run writes nothing")


def test_a_dry_run_refuses_what_the_command_would(tmp_path, capsys):
    flags = ("--batch_size=15", "--virtual_cpus=1", "--strategy=mirrored")
    assert run(*SHORT, *flags, "--dry_run", f"--model_dir={tmp_path}/run") == 2
    assert capsys.readouterr().err.startswith("error: --batch_size=15: not divisible")


def test_a_gpu_that_is_not_used_is_said(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not distribution.unused_gpu() or glob.glob("/dev/nvidia*")
    found = {"/dev/nvidia[0-9]*": ["/dev/nvidia0"], "/proc/driver/nvidia/gpus/*": []}
    monkeypatch.setattr(glob, "glob", found.get)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    said = distribution.unused_gpu()
    assert "/dev/nvidia0" in said
    assert f"'tensorflow[and-cuda]=={tf.__version__}'" in said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not distribution.unused_gpu()
