"""Image files in, one CSV file out, or one error and nothing written."""

import csv
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sat_tf.data import preprocessing
from sat_tf.runs.predict import predict_files

NAMES = ("dark", "middling", "bright")


def classify(images):
    """The brighter an image, the higher its class; the rest of the probability is shared."""
    assert images.shape == (2, 8, 8, 3) and images.dtype == tf.float32
    level = tf.cast(tf.reduce_mean(images, axis=[1, 2, 3]) * 2.999, tf.int32)
    return tf.one_hot(level, 3, on_value=0.75, off_value=0.125)


def predict(pattern, output, **options):
    settings = dict(image_size=8, crop_padding=0, class_names=NAMES, batch_size=2)
    return predict_files(classify, str(pattern), output=str(output), **{**settings, **options})


def save(path, level, shape=(8, 8, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, level, np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    save(tmp_path / "photos" / "b.png", 255)
    save(tmp_path / "photos" / "a, of course.jpg", 0, (30, 20, 3))
    save(tmp_path / "photos" / "deep" / "er" / "c[1].png", 128, (9, 12))
    return tmp_path / "photos"


def rows_of(output):
    with open(output, newline="") as file:
        return list(csv.reader(file))


def test_every_match_gets_a_row_in_sorted_order(photos, tmp_path):
    output = tmp_path / "new folder" / "out.csv"
    assert predict(photos / "**" / "*.*", output) == 3
    assert rows_of(output) == [
        ["file", "class", "probability"],
        [str(photos / "a, of course.jpg"), "dark", "0.750000"],
        [str(photos / "b.png"), "bright", "0.750000"],
        [str(photos / "deep" / "er" / "c[1].png"), "middling", "0.750000"],
    ]
    assert os.listdir(output.parent) == ["out.csv"]


def test_home_and_names_with_brackets_are_understood(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert predict("~/photos/*.png", tmp_path / "out.csv") == 1
    assert predict("~/photos/deep/er/c[1].png", tmp_path / "out.csv") == 1
    assert rows_of(tmp_path / "out.csv")[1][0].endswith("c[1].png")


def test_classes_without_a_name_are_given_by_index(photos, tmp_path):
    predict(photos / "*", tmp_path / "out.csv", class_names=("dark",))
    assert [row[1] for row in rows_of(tmp_path / "out.csv")] == ["class", "dark", "2"]


def test_images_get_the_evaluation_crop(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (21, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = []

    def keep(images):
        seen.append(images.numpy())
        return tf.ones([2, 3]) / 3

    predict_files(
        keep,
        str(tmp_path / "a.png"),
        image_size=8,
        crop_padding=2,
        class_names=(),
        batch_size=2,
        output=str(tmp_path / "out.csv"),
    )
    np.testing.assert_array_equal(seen[0][0], preprocessing.evaluation_crop(pixels, 8, 2))
    assert rows_of(tmp_path / "out.csv")[1][1:] == ["0", "0.333333"]


@pytest.mark.parametrize("contents", [b"", b"no image at all", "half"])
def test_a_broken_image_is_named_and_nothing_is_written(photos, tmp_path, contents):
    if contents == "half":
        whole = (photos / "a, of course.jpg").read_bytes()
        contents = whole[: len(whole) // 2]
    (photos / "z.jpg").write_bytes(contents)
    (tmp_path / "out.csv").write_text("earlier")
    reason = "(not a whole JPEG|the image is empty|no JPEG, PNG)"
    with pytest.raises(ValueError, match=rf"^--images=.*z\.jpg: {reason}.*; repair") as error:
        predict(photos / "*", tmp_path / "out.csv")
    assert "\n" not in str(error.value)
    assert (tmp_path / "out.csv").read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "photos"]


def test_no_match_is_an_error(photos, tmp_path):
    for pattern in (photos / "*.bmp", photos / "nosuch", ""):
        with pytest.raises(ValueError, match="^--images=.*: no such file; give"):
            predict(pattern, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_an_output_that_cannot_be_written_leaves_nothing(photos, tmp_path):
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(OSError):
        predict(photos / "*.png", tmp_path / "out.csv")
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "photos"]


def test_bad_files_up_to_a_limit_have_a_row_with_the_reason(photos, tmp_path):
    (photos / "a.webp").write_bytes(b"no image")
    (photos / "z.jpg").write_bytes(b"")
    seen = []
    options = dict(max_bad=2, on_bad=lambda file, problem: seen.append(os.path.basename(file)))
    assert predict(photos / "*.*", tmp_path / "out.csv", **options) == 4
    header, *rows = rows_of(tmp_path / "out.csv")
    assert header == ["file", "class", "probability", "error"]
    errors = {os.path.basename(row[0]): row[1:] for row in rows}
    assert errors["b.png"] == ["bright", "0.750000", ""]
    assert errors["z.jpg"] == ["", "", "the image is empty, no bytes"]
    assert errors["a.webp"][2].startswith("no JPEG, PNG, GIF, BMP, WEBP or TIFF image")
    assert seen == ["a.webp", "z.jpg"]
    with pytest.raises(ValueError, match="more than the 1 of --max_bad_records"):
        predict(photos / "*.*", tmp_path / "other.csv", max_bad=1)


def test_rows_are_there_as_they_are_made(photos, tmp_path):
    seen = []

    def on_batch(done, total):
        seen.append((done, total, len(rows_of(tmp_path / "out.csv")) - 1))

    predict(photos / "**" / "*.*", tmp_path / "out.csv", on_batch=on_batch)
    assert seen == [(2, 3, 2), (3, 3, 3)]


def test_a_row_may_have_several_classes(photos, tmp_path):
    predict(photos / "b.png", tmp_path / "out.csv", top=3)
    header, row = rows_of(tmp_path / "out.csv")
    assert header[1:] == [
        *("class", "probability", "class_2", "probability_2", "class_3", "probability_3")
    ]
    assert row[1:] == ["bright", "0.750000", "dark", "0.125000", "middling", "0.125000"]


def test_a_folder_stands_for_all_its_images_and_a_link_for_its_file(photos, tmp_path):
    (photos / "notes.txt").write_text("no image")
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(photos / "deep" / "d.webp")
    (tmp_path / "real.csv").write_text("earlier")
    os.symlink(tmp_path / "real.csv", tmp_path / "link.csv")
    assert predict(photos, tmp_path / "link.csv") == 4
    assert os.path.islink(tmp_path / "link.csv")
    assert [os.path.basename(row[0]) for row in rows_of(tmp_path / "real.csv")[1:]] == [
        *("a, of course.jpg", "b.png", "d.webp", "c[1].png")
    ]
