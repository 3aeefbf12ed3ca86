"""Encoded images on disk: every kind of file, and every kind of damage, counted and named."""

import numpy as np
import pytest
import small_data
import tensorflow as tf
from PIL import Image

from sat_tf import data
from sat_tf.data import encoded
from sat_tf.errors import UnreadableData

pytestmark = pytest.mark.smoke


def test_attempt_gives_the_result_or_the_alternative_in_graphs():
    @tf.function
    def root(value):
        def checked(value):
            with tf.control_dependencies([tf.debugging.Assert(value >= 0, ["negative"])]):
                return (tf.sqrt(value),)

        return encoded.attempt(checked, (value,), (tf.constant(-1.0),))[0]

    assert root(9.0) == 3.0 and root(-9.0) == -1.0


def _folder(tmp_path, files):
    """Makes a data set with a class of ten good images and a class of the given train files."""
    for place in ("train/good", "train/odd", "val/good"):
        (tmp_path / place).mkdir(parents=True)
    for i in range(10):
        good = small_data.encoded(small_data.pixels(40, 50, i))
        (tmp_path / f"train/good/{i}.jpg").write_bytes(good)
    (tmp_path / "val/good/0.jpg").write_bytes(good)
    for name, content in files.items():
        (tmp_path / f"train/odd/{name}").write_bytes(content)
    return f"folder:{tmp_path}"


def _epoch(name, max_bad_records=0, augment="basic"):
    source = data.load(name, max_bad_records=max_bad_records)
    with source.reading():
        batches = data.training_batches(
            source, batch_size=source.train.size, image_size=32, augment=augment, seed=0
        )
        return next(iter(batches))


@pytest.mark.parametrize("augment", ["none", "basic"])
def test_grey_alpha_cmyk_and_palette_images_become_rgb(tmp_path, augment):
    colour = small_data.pixels(40, 50)
    grey = Image.fromarray(colour).convert("L")
    files = {
        "grey.jpg": small_data.encoded(grey),
        "grey.png": small_data.encoded(grey, "PNG"),
        "alpha.png": small_data.encoded(Image.fromarray(colour).convert("RGBA"), "PNG"),
        "grey_alpha.png": small_data.encoded(Image.fromarray(colour).convert("LA"), "PNG"),
        "cmyk.jpg": small_data.encoded(Image.fromarray(colour).convert("CMYK")),
        "palette.png": small_data.encoded(Image.fromarray(colour).convert("P"), "PNG"),
        "actually_a_png.jpg": small_data.encoded(colour, "PNG"),
        "one.bmp": small_data.encoded(colour, "BMP"),
    }
    images, labels = _epoch(_folder(tmp_path, files), augment=augment)
    assert images.shape == (18, 32, 32, 3) and sum(labels.numpy()) == 8
    assert images.numpy().min() >= 0 and images.numpy().max() <= 1
    assert np.ptp(images.numpy(), axis=(1, 2, 3)).min() > 0.1  # none of them is blank


BAD = {
    "empty.jpg": (b"", "the image is empty"),
    "text.jpg": (b"no image at all", "no JPEG, PNG, GIF, BMP, WEBP or TIFF image"),
    "half.png": (small_data.encoded(small_data.pixels(64, 64), "PNG")[:300], "not a whole PNG"),
    "half.jpg": (small_data.encoded(small_data.pixels(64, 64))[:300], "not a whole JPEG"),
    # The crops of this one could do without what is missing.
    "nearly.jpg": (small_data.encoded(small_data.pixels(200, 40))[:-40], "not a whole JPEG"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("augment", ["none", "basic"])
def test_bad_images_stop_by_default_with_their_name(tmp_path, name, augment):
    content, reason = BAD[name]
    with pytest.raises(UnreadableData, match=f"train/odd/{name}: {reason}.*--max_bad_records=1"):
        _epoch(_folder(tmp_path, {name: content}), augment=augment)


def test_bad_images_are_left_out_and_named_up_to_the_limit(tmp_path, capfd):
    name = _folder(tmp_path, {name: content for name, (content, _) in BAD.items()})
    images, labels = _epoch(name, max_bad_records=5)
    assert images.shape[0] == 15 and not labels.numpy().any()  # good ones stand in for them
    assert np.ptp(images.numpy(), axis=(1, 2, 3)).min() > 0.1
    said = capfd.readouterr().out
    assert said.count("left out") == 5 and "left out (5 of at most 5)" in said
    assert all(f"train/odd/{name}" in said for name in BAD)
    with pytest.raises(UnreadableData, match="--max_bad_records=5 or more"):
        _epoch(name, max_bad_records=4)


def test_a_batch_without_a_readable_example_is_said(tmp_path):
    source = data.load(_folder(tmp_path, {"a.jpg": b""}), max_bad_records=9)
    with pytest.raises(UnreadableData, match="none of the examples of a batch can be read"):
        with source.reading():
            list(
                data.training_batches(
                    source, batch_size=1, image_size=32, augment="basic", seed=0
                ).take(11)
            )


def test_an_example_met_again_is_counted_once(tmp_path):
    source = data.load(_folder(tmp_path, {"a.jpg": b""}), max_bad_records=1)
    with source.reading():
        batches = data.training_batches(
            source, batch_size=11, image_size=32, augment="basic", seed=0
        )
        assert len(list(batches.take(5))) == 5


def test_evaluation_masks_what_is_unreadable(tmp_path):
    name = _folder(tmp_path, {"a.jpg": small_data.encoded(small_data.pixels(40, 50))})
    (tmp_path / "val/good/1.jpg").write_bytes(b"broken")
    source = data.load(name, max_bad_records=1)
    batches = list(data.evaluation_batches(source, batch_size=4, image_size=32))
    assert len(batches) == 1 and batches[0][2].numpy().tolist() == [True, False, False, False]


@pytest.mark.slow
def test_stopping_early_counts_nothing(tmp_path, capfd):
    """An iterator that is dropped cancels the reading of what it had begun."""
    source = data.load(_folder(tmp_path, {"a.jpg": small_data.encoded(small_data.pixels(40, 50))}))
    for _ in range(5):
        batches = iter(
            data.training_batches(source, batch_size=4, image_size=64, augment="basic", seed=0)
        )
        next(batches)
        del batches
    with source.reading():
        pass
    assert "left out" not in capfd.readouterr().out
