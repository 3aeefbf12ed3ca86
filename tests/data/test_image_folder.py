"""One sub-folder a class."""

import numpy as np
import pytest
import small_data
import tensorflow as tf

from sat_tf import data
from sat_tf.errors import UserError


def test_classes_are_the_sub_folders_in_order(tmp_path):
    small_data.write_folder(tmp_path, ("dog", "Cat", "ape"))
    (tmp_path / "train/ape/notes.txt").write_text("not an image")
    (tmp_path / "train/ape/._0.jpeg").write_text("what another system hides")
    (tmp_path / "train/.checkpoints").mkdir()
    (tmp_path / "train/list.csv").write_text("not a class")
    source = data.load(f"folder:{tmp_path}")
    description = source.description
    assert description == data.describe(f"folder:{tmp_path}")
    assert description.class_names == ("Cat", "ape", "dog") and description.num_classes == 3
    assert (description.train_examples, description.eval_examples) == (9, 6)
    ((images, labels, mask),) = data.evaluation_batches(source, batch_size=6, image_size=24)
    assert images.shape == (6, 24, 24, 3) and labels.numpy().tolist() == [0, 1, 2, 0, 1, 2]
    assert mask.numpy().all()


def _remove(path):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


def _no_classes(path):
    for name in ("cat", "dog"):
        _remove(path / "train" / name)


def _other_class(path):
    (path / "val/cat").rename(path / "val/cow")


def _no_images(path):
    for file in (path / "train/cat").iterdir():
        file.unlink()


def _no_val(path):
    (path / "val").rename(path / "test")


MISTAKES = {
    _no_classes: "train has no class folders",
    _other_class: "val has cow, which train has not",
    _no_images: "train/cat has no images",
    _no_val: "no folder .*/val",
    lambda path: _remove(path / "train/cat"): "train has one class, dog; two are the least",
}


@pytest.mark.parametrize("make", MISTAKES)
def test_other_folders_are_refused(tmp_path, make):
    small_data.write_folder(tmp_path)
    make(tmp_path)
    with pytest.raises(UserError, match=f"--dataset=folder:.*{MISTAKES[make]}.*give a folder with"):
        data.describe(f"folder:{tmp_path}")


def test_caps_take_all_classes(tmp_path):
    small_data.write_folder(tmp_path, ("ape", "cat", "dog"), train=4, val=4)
    source = data.load(f"folder:{tmp_path}")
    ((_, labels, _),) = data.evaluation_batches(source, batch_size=3, image_size=16, num_examples=3)
    assert labels.numpy().tolist() == [0, 1, 2]


def test_evaluating_needs_no_training_images(tmp_path):
    small_data.write_folder(tmp_path)
    for path in (tmp_path / "train").rglob("*.*"):
        path.unlink()
    for name in ("cat", "dog", ""):
        (tmp_path / "train" / name).rmdir()
    source = data.load(f"folder:{tmp_path}", eval_only=True)
    assert source.train is None and source.eval.size == 4
    assert source.description.class_names == ("cat", "dog")


def test_a_missing_folder_is_refused():
    with pytest.raises(UserError, match="--dataset=folder:/.*nowhere: no folder /.*nowhere/train"):
        data.load("folder:nowhere")


def test_small_images_of_one_size_keep_it_and_their_borders(tmp_path):
    small_data.write_folder(tmp_path, side=24)
    source = data.load(f"folder:{tmp_path}")
    assert (source.description.image_size, source.description.crop_padding) == (24, 0)
    ((images, _, _),) = data.evaluation_batches(source, batch_size=4, image_size=24)
    first = tf.io.decode_image((tmp_path / "val/cat/0.jpeg").read_bytes())
    np.testing.assert_array_equal(images[0], first.numpy().astype(np.float32) / 255)


@pytest.mark.parametrize("side, name", [(65, "0.jpeg"), (24, "odd.png")])
def test_other_images_are_photographs(tmp_path, side, name):
    """Larger ones, and those of which one differs."""
    small_data.write_folder(tmp_path, side=side)
    odd = small_data.encoded(small_data.pixels(30, 40, 0, 0), "PNG")
    (tmp_path / "val/cat" / name).write_bytes(
        odd if name == "odd.png" else (tmp_path / "val/cat/0.jpeg").read_bytes()
    )
    description = data.describe(f"folder:{tmp_path}")
    assert (description.image_size, description.crop_padding) == (None, 32)


def test_webp_tiff_and_files_in_folders_below_are_read_and_others_named(tmp_path):
    small_data.write_folder(tmp_path, ("cat", "dog"))
    pixels = np.zeros([24, 24, 3], np.uint8)
    for part in ("train", "val"):
        place = tmp_path / part / "cat" / "monday" / "morning"
        place.mkdir(parents=True)
        for ending, kind in ((".webp", "WEBP"), (".TIFF", "TIFF")):
            (place / f"x{ending}").write_bytes(small_data.encoded(pixels, kind))
        (place / ".hidden.png").write_text("of another system")
    before = data.describe(f"folder:{tmp_path}")
    assert (before.train_examples, before.eval_examples) == (3 + 3 + 2, 2 + 2 + 2)
    assert not data.passed_over(f"folder:{tmp_path}")
    source = data.load(f"folder:{tmp_path}")
    ((_, labels, mask),) = data.evaluation_batches(source, batch_size=6, image_size=24)
    assert mask.numpy().all() and sorted(labels.numpy()) == [0] * 4 + [1] * 2


def test_what_is_passed_over_is_counted_with_an_example(tmp_path):
    small_data.write_folder(tmp_path, ("cat", "dog"))
    (tmp_path / "train/cat/a.heic").write_text("")
    assert data.passed_over(f"folder:{tmp_path}") == f"one file, {tmp_path}/train/cat/a.heic"
    other = tmp_path / "other"
    small_data.write_folder(other, ("cat", "dog"))
    for place in ("val/dog/b.txt", "train/cat/deep/a.heic"):
        (other / place).parent.mkdir(exist_ok=True)
        (other / place).write_text("")
    assert data.passed_over(f"folder:{other}") == (
        f"2 files, such as {other}/train/cat/deep/a.heic"
    )
    assert not data.passed_over("digits")


def test_a_link_that_leads_back_is_followed_once(tmp_path):
    small_data.write_folder(tmp_path, ("cat", "dog"))
    (tmp_path / "train/cat/again").symlink_to(tmp_path / "train/cat")
    assert data.describe(f"folder:{tmp_path}").train_examples == 6


def test_file_names_need_not_be_utf_8(tmp_path):
    small_data.write_folder(tmp_path, ("cat", "dog"))
    for part in ("train", "val"):
        first = next((tmp_path / part / "cat").iterdir())
        first.rename(first.with_name("caf\udce9" + first.suffix))
    source = data.load(f"folder:{tmp_path}")
    ((_, _, mask),) = data.evaluation_batches(source, batch_size=4, image_size=24)
    assert mask.numpy().all()
