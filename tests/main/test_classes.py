"""Whatever is measured, exported or gone on with: a class is its name, not its place."""

import json
import shutil

import command_line
import numpy as np
import pytest
import small_data

CLASSES = ("ant", "bee", "cat")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on three classes of small images, which it has learnt."""
    import sat_tf.models

    place = tmp_path_factory.mktemp("by_name")
    for part in ("train", "val"):
        for label, name in enumerate(CLASSES):
            (place / "data" / part / name).mkdir(parents=True)
            for i in range(6):
                image = np.full([8, 8, 3], 40 + 10 * i, np.uint8)
                image[..., label] = 200
                (place / "data" / part / name / f"{i}.png").write_bytes(
                    small_data.encoded(image, "PNG")
                )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sat_tf.models, "build", command_line.small_network)
        assert (
            command_line.run(
                f"--dataset=folder:{place}/data",
                f"--model_dir={place}/run",
                "--method=standard",
                "--batch_size=9",
                "--train_steps=20",
                "--learning_rate=0.02",
                "--eval_attacks=clean",
                "--strategy=one_device",
            )
            == 0
        )
    return place


def _measure(trained, place, *flags):
    """Returns results.json of an evaluation on the folder `place`/other."""
    assert (
        command_line.run(
            "--mode=eval", f"--dataset=folder:{place}/other", "--eval_attacks=clean", *flags
        )
        == 0
    )
    (folder,) = [flag.partition("=")[2] for flag in flags if flag.startswith("--model_dir")]
    with open(f"{folder}/results.json") as file:
        return json.load(file)


def _other(trained, place, *classes):
    """Makes val/ of some of the classes, which sort in another order than in the run."""
    for name in classes:
        shutil.copytree(trained / "data/val" / name, place / "other/val" / name)


@pytest.mark.usefixtures("small_networks")
def test_a_run_is_measured_by_the_names_of_its_classes(trained, tmp_path, capfd):
    with open(trained / "run/results.json") as file:
        assert json.load(file)["clean_accuracy"] == 1.0
    _other(trained, tmp_path, "bee", "cat")
    shutil.copytree(trained / "run", tmp_path / "run")
    measured = _measure(trained, tmp_path, f"--model_dir={tmp_path}/run")
    assert (measured["clean_accuracy"], measured["examples"]) == (1.0, 12)
    assert "has no image of ant to measure on (1 of 3 classes)" in capfd.readouterr().err


def test_so_is_an_export(trained, tmp_path, capfd):
    _other(trained, tmp_path, "bee", "cat")
    measured = _measure(
        trained, tmp_path, f"--saved_model={trained}/run/saved_model", f"--model_dir={tmp_path}/out"
    )
    assert (measured["clean_accuracy"], measured["examples"]) == (1.0, 12)
    assert "has no image of ant to measure on" in capfd.readouterr().err


@pytest.mark.parametrize(
    "what", ["--model_dir={trained}/run", "--saved_model={trained}/run/saved_model"]
)
@pytest.mark.usefixtures("small_networks")
def test_a_class_that_is_not_known_is_refused_by_its_name(trained, tmp_path, capfd, what):
    _other(trained, tmp_path, "ant", "bee")
    shutil.copytree(trained / "data/val/cat", tmp_path / "other/val/cow")
    folder = [] if "model_dir" in what else [f"--model_dir={tmp_path}/out"]
    before = (trained / "run/results.json").read_bytes()
    assert (
        command_line.run(
            "--mode=eval",
            f"--dataset=folder:{tmp_path}/other",
            what.format(trained=trained),
            *folder,
        )
        == 2
    )
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: --dataset=folder:") and "has the class cow" in line
    assert (trained / "run/results.json").read_bytes() == before


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("change", ["gained", "lost", "renamed"])
def test_a_run_does_not_go_on_with_other_classes(trained, tmp_path, capfd, change):
    shutil.copytree(trained / "run", tmp_path / "run")
    moved = trained / "data_moved"
    shutil.copytree(trained / "data", moved)
    try:
        for part in ("train", "val"):
            place = trained / "data" / part
            if change == "gained":
                shutil.copytree(place / "ant", place / "dog")
            elif change == "lost":
                shutil.rmtree(place / "bee")
            else:
                (place / "ant").rename(place / "dog")
        assert (
            command_line.run(f"--model_dir={tmp_path}/run", "--mode=train", "--train_steps=21") == 2
        )
        (line,) = capfd.readouterr().err.splitlines()
        assert ("bee" if change == "lost" else "ant" if change == "renamed" else "dog") in line
    finally:
        shutil.rmtree(trained / "data")
        moved.rename(trained / "data")
