"""Sparta learnt in one run, used and kept in another, by the command line."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
import written
from command_line import run
from flag_values import resolve

from sat_tf import data, models
from sat_tf.runs import checkpoints, weights
from sat_tf.runs.folder import RunFolder

# Without an attack, whose graphs would take most of the time.
SHORT = (
    "--train_examples=32",
    "--batch_size=16",
    "--method=standard",
    "--eval_examples=8",
    "--eval_batch_size=8",
    "--eval_attacks=clean",
    "--strategy=one_device",
    "--activation=sparta",
    "--train_steps=2",
)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The folder of a run that has learnt its activations."""
    folder = tmp_path_factory.mktemp("runs") / "learnt"
    assert (
        run(
            *SHORT,
            f"--model_dir={folder}",
            "--mode=train",
            "--learning_rate=1",
            "--schedule=constant",
            "--sparta_kernel_size=1",
        )
        == 0
    )
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The folder of a run whose activations are as they begin: what is refused reads no more."""
    folder = RunFolder(str(tmp_path_factory.mktemp("runs") / "untrained"))
    config = resolve("--activation=sparta", "--sparta_kernel_size=1")
    folder.start(config, data.describe("digits"))
    network = models.build(config.model)
    tf.train.Checkpoint(classifier=network).save(f"{folder.checkpoints}/checkpoint")
    return folder.path


def _activations(folder):
    """{layer: weights} of the network in the folder as it is evaluated."""
    network = models.build(RunFolder(str(folder)).stored_config().model)
    weights.load_classifier(network, checkpoints.find(str(folder)))
    return {name: layer.get_weights() for name, layer in models.activation_layers(network).items()}


@pytest.mark.slow
@pytest.mark.smoke
def test_a_deeper_network_keeps_the_activations_of_another(learnt, tmp_path, capsys):
    source = _activations(learnt)
    assert any(np.any(taps != 1) for taps, _ in source.values())
    copy, folder = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(learnt, copy)
    command = (
        *SHORT,
        "--mode=train",
        "--model=resnet32",
        f"--sparta_from={copy}",
        "--freeze_activation",
        "--ema_decay=0.9",
        f"--model_dir={folder}",
    )
    assert run(*command) == 0
    assert (
        f"took 31 activations from {checkpoints.find(str(copy))}, 12 of them from the last"
    ) in capsys.readouterr().out
    assert json.loads((folder / "config.json").read_text())["model"]["sparta_kernel_size"] == 1
    shutil.rmtree(copy)
    assert run(*command, "--train_steps=4") == 0  # goes on without the source
    for name, kept in _activations(folder).items():
        group = name.replace("block3", "block2").replace("block4", "block2")
        for weight, expected in zip(kept, source[group]):
            np.testing.assert_array_equal(weight, expected)
    assert run("--mode=eval", f"--model_dir={folder}") == 0
    assert written.results(folder)["step"] == 4


@pytest.mark.slow
def test_frozen_smoothrelu_of_a_checkpoint_stays(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    command = (
        *SHORT,
        "--mode=train",
        "--activation=smoothrelu",
        "--learning_rate=1",
        "--schedule=constant",
    )
    assert run(*command, f"--model_dir={first}") == 0
    assert (
        run(*command, f"--init_checkpoint={first}", "--freeze_activation", f"--model_dir={second}")
        == 0
    )
    before, after = _activations(first), _activations(second)
    assert any(kept[0] != 20 for kept in before.values())
    assert before == after


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--sparta_kernel_size=3",), "leave it out"),
        (("--activation=swish",), "give --activation=sparta"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    arguments, message, untrained, tmp_path, capsys
):
    source = f"--sparta_from={untrained}"
    assert run(*SHORT, "--mode=train", source, f"--model_dir={tmp_path}/run", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --sparta_from=") and error.count("\n") == 1 and message in error
    assert not (tmp_path / "run").exists()
