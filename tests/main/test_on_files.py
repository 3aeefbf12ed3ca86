"""The command line on data sets that lie on disk, from encoded images to a SavedModel."""

import subprocess
import sys

import numpy as np
import pytest
import small_data
import tensorflow as tf
import written
from command_line import ROOT, newest, run

from sat_tf import data, models, runs

SHORT = (
    "--image_size=32",
    "--batch_size=4",
    "--num_steps=1",
    "--eval_attacks=clean,pgd-2",
    "--eval_batch_size=4",
    "--strategy=one_device",
    "--warmup_epochs=0",
)
# For what has nothing to do with attacks, whose graphs take most of the time.
STANDARD = (
    *(flag for flag in SHORT if not flag.startswith("--num_steps")),
    "--method=standard",
    "--eval_attacks=clean",
)


def _check_results_against_the_export(folder, dataset):
    """The export, given the raw files, has the accuracy that the run measured."""
    results = written.results(folder)
    source = data.load(dataset)
    files, labels = zip(*(source.eval.read(tf.constant(i)) for i in range(source.eval.size)))
    exported = tf.saved_model.load(str(folder / "saved_model"))
    answer = exported.signatures["image_bytes"](image_bytes=tf.stack(files))
    assert results["examples"] == source.eval.size
    assert results["clean_accuracy"] == np.mean(
        answer["classes"].numpy() == tf.stack(labels).numpy()
    )


def _weights(prefix):
    reader = tf.train.load_checkpoint(prefix)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("classifier/") and "SLOT" not in name
    }


@pytest.mark.slow
def test_the_imagenet_recipe_from_jpegs_to_an_export(tmp_path):
    """ResNet-50 at 224 pixels on shards in the release's layout: a step, evaluation, export."""
    small_data.write_imagenet(tmp_path / "data", train=16, validation=6, size=(260, 300))
    dataset, folder = f"tfrecord:{tmp_path / 'data'}", tmp_path / "run"
    command = (
        f"--flagfile={ROOT}/flags/recipes/imagenet-resnet50-swish.flags",
        f"--dataset={dataset}",
        f"--model_dir={folder}",
        "--batch_size=4",
        "--strategy=one_device",
    )
    asked = ("--eval_attacks=clean,pgd-2", "--eval_batch_size=4")
    assert run(*command, "--train_steps=1", *asked) == 0
    config = runs.RunFolder(str(folder)).stored_config()
    assert config.model.image_size == 224 and config.model.num_classes == 1000
    assert config.attack.epsilon == pytest.approx(4 / 255)
    initial = tf.train.Checkpoint(classifier=models.build(config.model, seed=config.seed))
    before = _weights(initial.write(str(tmp_path / "initial")))
    after = _weights(newest(folder))
    kernels = [name for name in before if "/kernel/" in name]
    # Branches start at zero, so that at first many kernels change by their decay alone.
    assert len(kernels) == 54 and not any(
        np.array_equal(before[name], after[name]) for name in kernels
    )
    assert all(np.isfinite(after[name]).all() for name in kernels)
    _check_results_against_the_export(folder, dataset)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "augment",
    [
        "basic",
        pytest.param("autoaugment", marks=pytest.mark.slow),
        pytest.param("randaugment", marks=pytest.mark.slow),
    ],
)
def test_a_folder_of_images(augment, small_networks, tmp_path):
    small_data.write_folder(tmp_path / "pets", train=6, val=3)
    dataset, folder = f"folder:{tmp_path}/pets", tmp_path / "run"
    command = (*SHORT, f"--dataset={dataset}", f"--model_dir={folder}", f"--augment={augment}")
    assert run(*command, "--epochs=2") == 0
    assert (folder / "saved_model/assets/class_names.txt").read_text().split() == ["cat", "dog"]
    _check_results_against_the_export(folder, dataset)


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["autoaugment", "randaugment"])
def test_other_augmentations_train_on_files(augment, small_networks, tmp_path):
    small_data.write_folder(tmp_path / "pets", train=6, val=3)
    command = (*STANDARD, f"--dataset=folder:{tmp_path}/pets", f"--model_dir={tmp_path}/run")
    assert run(*command, f"--augment={augment}", "--mode=train", "--epochs=2") == 0
    rows = written.rows(tmp_path / "run", "train")
    assert [row["step"] for row in rows] == [3, 6] and np.isfinite([r["loss"] for r in rows]).all()


@pytest.mark.slow
def test_a_tfds_set(small_networks, tmp_path):
    small_data.prepare_tfds("cifar10", str(tmp_path / "tfds"), {"train": 12, "test": 5})
    command = (*STANDARD, "--dataset=cifar10", f"--data_dir={tmp_path}/tfds")
    assert run(*command, f"--model_dir={tmp_path}/run", "--train_steps=3") == 0
    results = written.results(tmp_path / "run")
    assert results["examples"] == 5 and results["epsilon"] == pytest.approx(8 / 255)
    names = (tmp_path / "run/saved_model/assets/class_names.txt").read_text().split()
    assert len(names) == 10


def test_a_bad_image_stops_training_keeps_the_state_and_may_be_left_out(
    small_networks, tmp_path, capfd
):
    small_data.write_folder(tmp_path / "pets", train=6, val=2)
    (tmp_path / "pets/train/cat/2.jpeg").write_bytes(b"broken")
    command = (
        *STANDARD,
        f"--dataset=folder:{tmp_path}/pets",
        f"--model_dir={tmp_path}/run",
        "--mode=train",
        "--train_steps=6",
        "--seed=2",
    )
    assert run(*command) == 2
    error = capfd.readouterr().err
    line = next(line for line in error.splitlines() if line.startswith("error:"))
    assert "goes on from there" not in error
    assert "train/cat/2.jpeg: no JPEG, PNG" in line and "--max_bad_records=1" in line
    saved = newest(tmp_path / "run")
    assert saved is not None and not saved.endswith("-6")
    assert run(*command, "--max_bad_records=1") == 0
    said = capfd.readouterr().out
    assert f"continuing from {saved}" in said and said.count("left out (1 of at most 1)") == 1


@pytest.mark.slow
def test_a_run_is_exported_and_applied_far_from_its_data(small_networks, tmp_path):
    small_data.write_folder(tmp_path / "pets", train=4, val=2)
    folder = tmp_path / "run"
    command = (*STANDARD, f"--dataset=folder:{tmp_path}/pets", f"--model_dir={folder}")
    assert run(*command, "--train_steps=1", "--mode=train") == 0
    (tmp_path / "pets").rename(tmp_path / "moved")
    assert run("--mode=export", f"--model_dir={folder}") == 0
    assert (folder / "saved_model/assets/class_names.txt").read_text().split() == ["cat", "dog"]
    assert run("--mode=predict", f"--model_dir={folder}", f"--images={tmp_path}/moved/val/*/*") == 0
    small_data.write_folder(tmp_path / "larger", train=1, val=5)
    small_data.write_folder(tmp_path / "smaller", train=1, val=1)
    for place, examples in (("moved", 4), ("larger", 10), ("smaller", 2)):
        assert (
            run(
                "--mode=eval",
                f"--model_dir={folder}",
                "--eval_attacks=clean",
                f"--dataset=folder:{tmp_path}/{place}",
            )
            == 0
        )
        assert written.results(folder)["examples"] == examples


@pytest.mark.slow
def test_two_replicas_read_records(tmp_path):
    """In a process of its own: devices are made after the records were counted."""
    small_data.write_imagenet(tmp_path / "data", train=8, validation=3)
    done = subprocess.run(
        [
            sys.executable,
            "tests/command_line.py",  # main.py with the small network
            *SHORT[:-2],
            f"--dataset=tfrecord:{tmp_path}/data",
            "--virtual_cpus=2",
            "--strategy=mirrored",
            "--train_steps=2",
            "--warmup_epochs=0",
            "--model=resnet20",
            f"--model_dir={tmp_path}/run",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert written.results(tmp_path / "run")["examples"] == 3


@pytest.mark.slow
def test_an_unreadable_image_is_not_evaluated(small_networks, tmp_path):
    small_data.write_folder(tmp_path / "pets", train=4, val=3)
    (tmp_path / "pets/val/dog/0.jpeg").write_bytes(b"")
    command = (
        *STANDARD,
        f"--dataset=folder:{tmp_path}/pets",
        f"--model_dir={tmp_path}/run",
        "--train_steps=1",
    )
    assert run(*command) == 2
    assert run(*command, "--max_bad_records=1") == 0
    assert written.results(tmp_path / "run")["examples"] == 5


ERRORS = {
    (
        "--dataset=cifar10",
    ): "not prepared under --data_dir={empty}; give --download, or run: python",
    ("--dataset=imagenet2012", "--model=resnet50"): "downloads/manual",
    ("--dataset=tfrecord:{empty}",): "-00000-of-0",
    ("--dataset=folder:{empty}",): "no folder {empty}/",
    ("--dataset=imagenette0",): "did you mean imagenette",
}


@pytest.mark.parametrize("arguments", ERRORS, ids=lambda a: a[0])
@pytest.mark.parametrize("mode", ["train_and_eval", "eval"])
def test_missing_data_is_one_line_before_anything_is_built(arguments, mode, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    given = [argument.format(empty=tmp_path / "empty") for argument in arguments]
    if mode == "eval":
        given.append(f"--init_checkpoint={_small_checkpoint(tmp_path)}")
    before = sorted(tmp_path.rglob("*"))
    assert (
        run(*given, f"--data_dir={tmp_path}/empty", f"--model_dir={tmp_path}/new", f"--mode={mode}")
        == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("error: --dataset=") and error.count("\n") == 1
    assert ERRORS[arguments].format(empty=tmp_path / "empty") in error
    assert sorted(tmp_path.rglob("*")) == before


def _small_checkpoint(tmp_path):
    """A checkpoint outside of any run, so that all settings are the command's."""
    return tf.train.Checkpoint(value=tf.Variable(1.0)).save(str(tmp_path / "loose" / "model"))
