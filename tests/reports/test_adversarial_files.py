"""Adversarial examples as files: exact arrays, and a sheet on which every pair can be seen."""

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.reports import adversarial_files

GREEN, RED = (26, 127, 55), (198, 40, 40)


def examples(number, side=8, channels=3):
    random = np.random.RandomState(0)
    images = random.uniform(0, 1, [number, side, side, channels]).astype(np.float32)
    classes = np.arange(number) % 10
    return dict(
        images=images,
        adversarial=np.clip(images + np.float32(1 / 3), 0, 1),
        labels=classes,
        predicted=classes,
        adversarial_predicted=(classes + 1) % 10,
    )


def save(path, number=3, **changes):
    arrays = {
        **examples(number),
        "indices": np.arange(number) + 40,
        "broken_by": ["apgd-ce", "", "fab-t"][:number],
        **changes,
    }
    adversarial_files.save(path, **arrays)
    return arrays


def test_the_arrays_come_back_exactly_and_without_pickles(tmp_path):
    arrays = save(tmp_path / "adversarial.npz")
    with np.load(tmp_path / "adversarial.npz", allow_pickle=False) as stored:
        assert set(stored) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[name], array)
        kinds = {name: stored[name].dtype for name in stored}
    assert kinds.pop("images") == kinds.pop("adversarial") == np.float32
    assert kinds.pop("broken_by").kind == "U"
    assert set(kinds.values()) == {np.dtype(np.int64)}


def test_none_is_a_file_too(tmp_path):
    save(tmp_path / "adversarial.npz", number=0)
    with np.load(tmp_path / "adversarial.npz", allow_pickle=False) as stored:
        assert stored["images"].shape == (0, 8, 8, 3) and stored["broken_by"].dtype.kind == "U"


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"adversarial": examples(3)["images"].astype(np.float16)}, "adversarial are float16"),
        ({"adversarial": examples(3, side=4)["images"]}, "must have one shape"),
        ({"indices": [1, 2]}, "2 indices for 3 images"),
        ({"broken_by": []}, "0 broken_by for 3"),
    ],
)
def test_arrays_that_do_not_fit_leave_the_old_file(tmp_path, changes, problem):
    save(tmp_path / "adversarial.npz", number=2)
    with pytest.raises(ValueError, match=problem):
        save(tmp_path / "adversarial.npz", **changes)
    with np.load(tmp_path / "adversarial.npz") as stored:
        assert len(stored["images"]) == 2


def colours_of(picture):
    codes = np.unique(np.int32(picture) @ [65536, 256, 1])
    return {(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()}


def test_both_images_of_a_pair_are_on_the_sheet_pixel_by_pixel(tmp_path):
    pair = examples(1, side=2)
    adversarial_files.write_contact_sheet(tmp_path / "sheet.png", **pair)
    sheet = tf.io.decode_png((tmp_path / "sheet.png").read_bytes()).numpy()
    np.testing.assert_array_equal(sheet, adversarial_files.contact_sheet(**pair))
    flat = sheet.reshape(-1, 3)
    for pixel in np.concatenate([pair["images"], pair["adversarial"]]).reshape(-1, 3):
        square = (flat == np.round(255 * pixel)).all(-1).sum()
        assert square == 48**2  # a quarter of a tile


def test_right_and_wrong_predictions_are_told_apart():
    pairs = examples(4)
    assert {GREEN, RED} <= colours_of(adversarial_files.contact_sheet(**pairs))
    robust = adversarial_files.contact_sheet(**{**pairs, "adversarial_predicted": pairs["labels"]})
    assert GREEN in colours_of(robust) and RED not in colours_of(robust)


def test_a_hundred_pairs_are_drawn_and_no_more():
    pairs = examples(130)
    sheet = adversarial_files.contact_sheet(**pairs)
    np.testing.assert_array_equal(
        sheet,
        adversarial_files.contact_sheet(**{name: column[:100] for name, column in pairs.items()}),
    )
    width = adversarial_files.contact_sheet(**examples(1)).shape[1] - 14
    assert sheet.shape[1] == 10 * width + 14


@pytest.mark.parametrize("side, channels", [(8, 1), (150, 3)])
def test_grey_and_large_images_with_long_names_fit_their_tiles(side, channels):
    names = ["a name that is far too long to be written under a picture"] * 10
    sheet = adversarial_files.contact_sheet(**examples(2, side, channels), class_names=names)
    assert sheet.shape == adversarial_files.contact_sheet(**examples(2)).shape
    assert (sheet[:, :14] == 255).all() and (sheet[:, -14:] == 255).all()  # nothing cut off


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="no images to draw"):
        adversarial_files.contact_sheet(**examples(0))
    with pytest.raises(ValueError, match="an image of 4 channels cannot be drawn: 1 or 3 can"):
        adversarial_files.contact_sheet(**examples(1, channels=4))
