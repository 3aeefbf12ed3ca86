"""One run as a user makes it, from training to an export, and what settings come to on the way."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import written
from command_line import ROOT, SHORT, run, tags

from sat_tf import config as configs
from sat_tf import data
from sat_tf.config import settings as config_settings


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a short complete run."""
    folder = tmp_path_factory.mktemp("run")
    assert run(*SHORT, f"--model_dir={folder}", "--epochs=2", "--eval_every=1") == 0
    return folder


@pytest.mark.smoke
def test_a_run_leaves_what_the_interface_says(finished):
    config = json.loads((finished / "config.json").read_text())
    assert config["model"]["name"] == "resnet20" and config["attack"]["num_steps"] == 1
    assert config["versions"]["tensorflow"] == tf.__version__
    assert "git_commit" in config
    results = written.results(finished)
    assert set(results) == {
        "clean_accuracy",
        "robust_accuracy",
        "examples",
        "epsilon",
        "step",
        "checkpoint",
        "worst_case_accuracy",
        "norm",
        "robust_if",
        "step_size",
        "autoattack_version",
        "dataset",
        "seed",
        "attacks",
        "warnings",
    }
    assert (finished / "report.html").exists()
    assert set(results["robust_accuracy"]) == {"fgsm", "pgd-2"}
    assert results["examples"] == 20 and results["step"] == 8
    assert os.path.exists(results["checkpoint"] + ".index")
    assert all(0 <= v <= results["clean_accuracy"] for v in results["robust_accuracy"].values())
    kinds = [(row["kind"], row["step"]) for row in written.rows(finished)]
    assert kinds == [("train", 4), ("eval", 4), ("train", 8), ("eval", 8)]
    assert all({"step", "epoch", "seconds"} <= set(row) for row in written.rows(finished))
    assert all(
        row["images_per_processor_second"] > 0
        for row in written.rows(finished)
        if row["kind"] == "train"
    )


def test_tensorboard_has_scalars_images_and_the_configuration(finished):
    assert {
        "loss",
        "clean_accuracy",
        "adversarial_accuracy",
        "learning_rate",
        "images_per_second",
        "images_per_processor_second",
        "perturbation_mean",
        "perturbation_max",
        "config",
    } <= tags(finished, "train")
    assert {
        "clean_accuracy",
        "robust_accuracy/fgsm",
        "robust_accuracy/pgd_2",
        "adversarial_examples",
    } <= tags(finished, "eval")


def test_the_export_agrees_with_the_results(finished):
    exported = tf.saved_model.load(str(finished / "saved_model"))
    examples = data.load("digits").eval
    answer = exported.signatures["serving_default"](images=tf.constant(examples.images[:20]))
    accuracy = np.mean(answer["classes"].numpy() == examples.labels[:20])
    assert accuracy == written.results(finished)["clean_accuracy"]


@pytest.mark.slow
def test_eval_takes_the_runs_settings_and_other_attacks(
    small_run, small_networks, tmp_path, capsys
):
    folder = shutil.copytree(small_run, tmp_path / "run")
    before = (folder / "config.json").read_bytes()
    asked = ("--mode=eval", f"--model_dir={folder}")
    assert run(*asked, "--eval_attacks=pgd-1x2", "--epsilon=8/255") == 0
    results = written.results(folder)
    assert list(results["robust_accuracy"]) == ["pgd-1x2"]
    assert results["epsilon"] == pytest.approx(8 / 255)
    assert (folder / "config.json").read_bytes() == before
    assert "pgd-1x2" in capsys.readouterr().out
    assert run(*asked) == 0  # the settings of the run again
    again, of_run = written.results(folder), written.results(small_run)
    assert {**again, "checkpoint": of_run["checkpoint"]} == of_run


@pytest.mark.slow
def test_another_derivative_is_measured_beside_the_exact_one(small_networks, tmp_path, capsys):
    assert (
        run(
            *SHORT,
            f"--model_dir={tmp_path}",
            "--activation=relu",
            "--train_steps=1",
            "--attack_gradient=softplus",
            "--mode=train",
        )
        == 0
    )
    assert (
        run(
            "--mode=eval",
            f"--model_dir={tmp_path}",
            "--eval_attacks=fgsm",
            "--attack_gradient=parametric_softplus",
        )
        == 0
    )
    captured = capsys.readouterr()
    results = written.results(tmp_path)
    assert list(results["robust_accuracy"]) == ["fgsm", "fgsm:parametric_softplus"]
    assert written.rows(tmp_path)[-1]["robust_accuracy"] == results["robust_accuracy"]
    assert "\nfgsm:parametric_softplus  " in captured.out
    assert "the run was trained with --attack_gradient=softplus" in captured.err
    assert {"robust_accuracy/fgsm", "robust_accuracy/fgsm/parametric_softplus"} <= (
        tags(tmp_path, "eval")
    )


def test_export_again(small_run, small_networks, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "run")
    time.sleep(0.01)
    before = (folder / "saved_model" / "saved_model.pb").stat().st_mtime_ns
    assert run("--mode=export", f"--model_dir={folder}") == 0
    assert (folder / "saved_model" / "saved_model.pb").stat().st_mtime_ns > before


# Settings that have no effect on each other share a run; its name says what is new of it.
TOGETHER = {
    "two replicas, bfloat16": {
        "strategy": "mirrored",
        "precision": "bfloat16",
        "method": "fast",
        "activation": "smoothrelu",
        "optimizer": "adam",
        "schedule": "cosine",
        "steps_per_execution": 2,
        "num_classes": 12,
    },
    "XLA, float16": {
        "xla": "on",
        "precision": "float16",
        "image_size": 16,
        "augment": "basic",
        "label_smoothing": 0.1,
        "clean_epochs": 1,
    },
}
EFFICIENTNET = {"model": "efficientnet-b0", "survival_probability": 0.5, "method": "standard"}


def _check_whole_run(folder, settings):
    """Trains into the second epoch, measures and exports with settings, and looks for each."""
    assert (
        run(
            *SHORT[:-1],
            f"--model_dir={folder}",
            "--train_steps=5",
            "--eval_attacks=clean,pgd-2",
            *(f"--{name}={value}" for name, value in settings.items()),
        )
        == 0
    )
    results = written.results(folder)
    assert results["examples"] == 20 and results["step"] == 5
    stored = json.loads((folder / "config.json").read_text())
    values = config_settings.flag_values(configs.Config.from_dict(stored))
    assert {name: values[name] for name in settings} == settings
    exported = tf.saved_model.load(str(folder / "saved_model"))
    model = stored["model"]
    logits = exported.logits(tf.zeros([2, model["image_size"], model["image_size"], 3]))
    assert logits.shape == (2, model["num_classes"]) and np.isfinite(logits).all()


@pytest.mark.slow
@pytest.mark.parametrize("title", TOGETHER)
def test_settings_work_from_training_to_export(title, small_networks, tmp_path):
    _check_whole_run(tmp_path, TOGETHER[title])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [TOGETHER["XLA, float16"], EFFICIENTNET], ids=["ResNet", "EfficientNet"]
)
def test_settings_work_with_networks_of_full_depth(settings, tmp_path):
    _check_whole_run(tmp_path, settings)


@pytest.mark.slow
def test_a_mirrored_run_is_the_one_device_run(tmp_path):
    """From a deterministic start; two virtual devices on the command line, in a process of its
    own."""
    common = (*SHORT[:-2], "--random_start=false", "--mode=train", "--train_steps=4")
    assert run(*common, "--strategy=one_device", f"--model_dir={tmp_path}/one") == 0
    command = [
        *(sys.executable, "main.py", *common),
        *("--strategy=mirrored", "--virtual_cpus=2", f"--model_dir={tmp_path}/two"),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    accuracies = []
    for name in ("one", "two"):
        rows = written.rows(tmp_path / name, "train")
        accuracies.append((rows[-1]["loss"], rows[-1]["adversarial_accuracy"]))
    np.testing.assert_allclose(accuracies[0], accuracies[1], rtol=1e-3)
