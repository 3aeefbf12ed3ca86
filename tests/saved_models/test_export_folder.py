"""The folder of an export: whole or as it was, and never somebody else's."""

import os
import pathlib

import pytest
import tensorflow as tf

from sat_tf.saved_models.export import export

pytestmark = pytest.mark.smoke

SIZE, NAMES = 8, ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def model():
    """Linear, as nothing here depends on the network."""
    images = tf.keras.Input([SIZE, SIZE, 3])
    return tf.keras.Model(
        images, tf.keras.layers.Dense(len(NAMES))(tf.keras.layers.Flatten()(images))
    )


def everything_in(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def fail_in_the_middle_of_saving(module, path, **options):
    tf.io.gfile.makedirs(path + "/variables")
    (pathlib.Path(path) / "variables" / "variables.index").write_bytes(b"half of it")
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")


def test_a_failed_export_leaves_the_earlier_one_and_nothing_else(model, tmp_path, monkeypatch):
    export(model, tmp_path / "m", image_size=SIZE)
    before = everything_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tf.saved_model, "save", fail_in_the_middle_of_saving)
        with pytest.raises(tf.errors.ResourceExhaustedError, match="No space left"):
            export(model, tmp_path / "m", image_size=SIZE)
        assert everything_in(tmp_path) == before
    rename, calls = tf.io.gfile.rename, []

    def fail_at_the_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("the disk went away")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "rename", fail_at_the_second)
        with pytest.raises(OSError, match="went away"):
            export(model, tmp_path / "m", image_size=SIZE)
    assert everything_in(tmp_path) == before and os.listdir(tmp_path) == ["m"]


def test_a_failed_first_export_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "save", fail_in_the_middle_of_saving)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        export(model, tmp_path / "m", image_size=SIZE)
    assert not os.listdir(tmp_path)


def test_an_export_takes_the_place_of_an_earlier_one_and_of_leftovers(model, tmp_path):
    export(model, tmp_path / "m", image_size=SIZE, class_names=NAMES)
    (tmp_path / "m.partial" / "model").mkdir(parents=True)
    (tmp_path / "m").rename(tmp_path / "m.earlier")  # as if killed between the two renames
    export(model, tmp_path / "m", image_size=SIZE)
    assert os.listdir(tmp_path) == ["m"]
    assert not (tmp_path / "m" / "assets" / "class_names.txt").exists()


def test_other_peoples_folders_are_not_replaced(model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(ValueError, match="something else than a SavedModel"):
            export(model, path, image_size=SIZE)
    assert everything_in(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "dog\n", "owl")])
def test_class_names_that_do_not_fit_are_refused(model, names, tmp_path):
    with pytest.raises(ValueError, match="each of the 3 classes"):
        export(model, tmp_path / "m", image_size=SIZE, class_names=names)
    assert not os.listdir(tmp_path)
