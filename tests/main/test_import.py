"""Checkpoints of the original release from the command line: export, evaluation, training."""

import pathlib

import daily
import golden_values
import numpy as np
import pytest
import small_data
import tensorflow as tf
import tf1_files
import written
from command_line import run

from flags import definitions, subjects

CASES = ("resnet50_silu_r64", "efficientnet-b0_r64")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Returns {case: prefix} of TF1 checkpoints with a step and optimizer slots."""
    folder = tmp_path_factory.mktemp("release")
    prefixes = {}
    for case in CASES:
        description, _ = golden_values.load(case)
        values = golden_values.variables(description)
        slots = {
            f"{name}/Momentum": np.zeros_like(value)
            for name, value in values.items()
            if name.endswith(("/W", "/kernel"))
        }
        prefixes[case] = tf1_files.save(
            folder / case, {**values, **slots, "global_step": np.array(7, np.int64)}
        )
    return prefixes


def _check_golden_logits(case, saved_model):
    description, arrays = golden_values.load(case)
    images = golden_values.images(description)
    exported = tf.saved_model.load(str(saved_model))
    logits = exported.signatures["serving_default"](images=tf.constant(images))["logits"]
    np.testing.assert_allclose(logits, arrays["logits"], atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(
        exported.logits(images / np.float32(255)), arrays["logits"], atol=1e-3, rtol=1e-4
    )


def _subject(*arguments):
    """Returns what a command works on; nothing is built for it."""
    flags = definitions.define()
    definitions.parse(flags, ["main.py", *map(str, arguments)])
    return subjects.of(flags)


def _export(prefix, folder):
    return (
        "--mode=export",
        f"--init_checkpoint={prefix}",
        "--image_size=64",
        f"--model_dir={folder}",
    )


@pytest.mark.slow
@pytest.mark.smoke
@pytest.mark.parametrize(
    "case, flags, note",
    [
        ("resnet50_silu_r64", ("--checkpoint_channels=rgb",), "--activation=swish is assumed"),
        pytest.param("efficientnet-b0_r64", (), "", marks=pytest.mark.slow),
    ],
)
def test_from_a_checkpoint_to_an_export(case, flags, note, checkpoints, tmp_path, capsys):
    """Only the image size is said: model and classes are recognised; another import goes
    elsewhere."""
    command = _export(checkpoints[case], tmp_path)
    assert run(*command, *flags) == 0
    error = capsys.readouterr().err
    assert note in error and error.count("note:") == bool(note)
    _check_golden_logits(case, tmp_path / "saved_model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["import.json", "saved_model"]

    before = (tmp_path / "saved_model/saved_model.pb").read_bytes()
    if flags:
        assert run(*command) == 2
        assert "another import: channels (rgb there, None now)" in capsys.readouterr().err
    (other,) = set(CASES) - {case}
    assert run(*_export(checkpoints[other], tmp_path)) == 2
    assert "holds what was made of another import: " in capsys.readouterr().err
    assert (tmp_path / "saved_model/saved_model.pb").read_bytes() == before
    _subject(*command, *flags)  # the same again is not refused


@pytest.mark.slow
def test_the_releases_own_size_and_folder_are_the_defaults(checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--mode=export", f"--init_checkpoint={checkpoints['efficientnet-b0_r64']}") == 0
    exported = tf.saved_model.load("runs/efficientnet-b0-swish-imagenet2012-pgd/saved_model")
    png = tf.io.encode_png(small_data.pixels(300, 280))
    answer = exported.signatures["image_bytes"](image_bytes=tf.reshape(png, [1]))
    assert answer["logits"].shape == (1, 1000)


@pytest.mark.slow
def test_evaluation_with_pgd_on_imagenet_records(checkpoints, tmp_path):
    small_data.write_imagenet(tmp_path / "data", validation=6)
    assert (
        run(
            "--mode=eval",
            f"--init_checkpoint={checkpoints['resnet50_silu_r64']}",
            "--activation=silu",
            f"--dataset=tfrecord:{tmp_path}/data",
            "--image_size=64",
            "--eval_attacks=clean,pgd-2",
            "--eval_batch_size=2",
            "--strategy=one_device",
            f"--model_dir={tmp_path}/run",
        )
        == 0
    )
    results = written.results(tmp_path / "run")
    assert results["examples"] == 6 and "pgd-2" in results["robust_accuracy"]
    assert results["epsilon"] == pytest.approx(4 / 255)
    assert results["checkpoint"] == checkpoints["resnet50_silu_r64"]


@pytest.mark.slow
def test_measuring_needs_no_training_shards(checkpoints, tmp_path):
    small_data.write_imagenet(tmp_path / "data", validation=4)
    for path in (tmp_path / "data").glob("train-*"):
        path.unlink()
    assert (
        run(
            "--mode=eval",
            f"--init_checkpoint={checkpoints['resnet50_silu_r64']}",
            f"--dataset=tfrecord:{tmp_path}/data",
            "--image_size=64",
            "--eval_attacks=clean",
            "--eval_batch_size=4",
            "--strategy=one_device",
            f"--model_dir={tmp_path}/run",
        )
        == 0
    )
    assert written.results(tmp_path / "run")["examples"] == 4


@pytest.mark.slow
def test_training_begins_with_an_imported_network(checkpoints, tmp_path):
    small_data.write_imagenet(tmp_path / "data", train=8, validation=2)
    assert (
        run(
            "--mode=train",
            f"--init_checkpoint={checkpoints['resnet50_silu_r64']}",
            "--checkpoint_channels=rgb",
            f"--dataset=tfrecord:{tmp_path}/data",
            "--image_size=64",
            "--batch_size=4",
            "--train_steps=1",
            "--learning_rate=0",
            "--strategy=one_device",
            f"--model_dir={tmp_path}/run",
        )
        == 0
    )
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(f"{tmp_path}/run/checkpoints"))
    description, _ = golden_values.load("resnet50_silu_r64")
    wanted = golden_values.variables(description)["linear/W"]
    kernels = [
        reader.get_tensor(name)
        for name, shape in reader.get_variable_to_shape_map().items()
        if shape == [2048, 1000] and name.startswith("classifier/") and "SLOT" not in name
    ]
    assert len(kernels) == 1
    np.testing.assert_array_equal(kernels[0], wanted)


ERRORS = {
    (
        "--init_checkpoint={resnet}",
        "--model=resnet101",
    ): "--model=resnet101: {resnet} is a checkpoint of resnet50; give --model=resnet50",
    (
        "--init_checkpoint={resnet}",
        "--num_classes=1001",
    ): "--num_classes=1001: {resnet} has 1000 classes; give --num_classes=1000",
    ("--init_checkpoint={resnet}", "--activation=smoothrelu"): "has learnt no activation",
    ("--init_checkpoint={efficientnet}", "--model=resnet50"): "give --model=efficientnet-b0",
    ("--init_checkpoint={efficientnet}", "--checkpoint_channels=bgr"): "feeds RGB",
    ("--init_checkpoint={efficientnet}", "--checkpoint_ema=true"): "has no moving average of",
    ("--init_checkpoint={cut_off}",): "not a readable checkpoint",
    (
        "--init_checkpoint={resnet}",
        "--dataset=digits",
    ): "--dataset=digits: has 10 classes, the checkpoint 1000; name a data set of its classes",
    ("--checkpoint_channels=rgb",): "--checkpoint_channels=rgb: there is no checkpoint to read",
    ("--checkpoint_ema=true",): "--checkpoint_ema=True: there is no checkpoint to read",
}
# Of those for which a network is built, one is enough for every day.
BUILDING = ("--model=", "--num_classes=", "--checkpoint_channels=bgr", "--checkpoint_ema=true")
QUICK = [
    arguments
    for arguments in ERRORS
    if len(arguments) == 1 or not arguments[-1].startswith(BUILDING)
]


@pytest.mark.parametrize("arguments", daily.only(QUICK, ERRORS), ids=lambda a: " ".join(a))
def test_what_does_not_fit_is_one_line(arguments, checkpoints, tmp_path, capsys):
    whole = pathlib.Path(checkpoints["resnet50_silu_r64"] + ".index").read_bytes()
    (tmp_path / "cut_off.index").write_bytes(whole[: len(whole) // 2])
    places = dict(
        resnet=checkpoints["resnet50_silu_r64"],
        cut_off=tmp_path / "cut_off",
        efficientnet=checkpoints["efficientnet-b0_r64"],
    )
    assert (
        run(
            "--mode=export",
            "--image_size=64",
            f"--model_dir={tmp_path}/new",
            *(argument.format(**places) for argument in arguments),
        )
        == 2
    )
    error = capsys.readouterr().err
    assert (
        error.startswith("error: ")
        and error.count("\n") == 1
        and ERRORS[arguments].format(**places) in error
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_shadows_are_pointed_out_and_taken_on_demand(tmp_path, capsys):
    description, arrays = golden_values.load("efficientnet-b0_r64")
    averages = {
        f"{name}/ExponentialMovingAverage": value
        for name, value in golden_values.variables(description).items()
    }
    noise = {name.rpartition("/")[0]: np.full_like(value, 0.1) for name, value in averages.items()}
    prefix = tf1_files.save(tmp_path / "ema", {**averages, **noise})
    (note,) = _subject(*_export(prefix, tmp_path / "raw")).notes
    assert "--checkpoint_ema=true takes them" in note
    assert run(*_export(prefix, tmp_path / "run"), "--checkpoint_ema=true") == 0
    assert "note:" not in capsys.readouterr().err
    _check_golden_logits("efficientnet-b0_r64", tmp_path / "run" / "saved_model")
