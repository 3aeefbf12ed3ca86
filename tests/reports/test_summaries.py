"""Summaries, read back from the event files TensorBoard would read."""

import json

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.reports import events, summaries

GREY = 128


def read(folder):
    """Returns {tag: [(step, value)]} of the event files in a folder."""
    found = {}
    for file in sorted(folder.glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, tf.make_ndarray(value.tensor)))
    return found


@pytest.fixture
def writers(tmp_path):
    folder = tmp_path / "tensorboard"
    with (
        events.create_writer(folder, "train") as train,
        events.create_writer(folder, "eval") as evaluation,
    ):
        yield train, evaluation


def examples(number, epsilon=8 / 255, side=8):
    random = np.random.RandomState(0)
    clean = random.uniform(0.2, 0.8, (number, side, side, 3)).astype(np.float32)
    signs = np.sign(random.randn(*clean.shape)).astype(np.float32)
    return clean, clean + np.float32(epsilon) * signs


def test_scalars_go_to_their_part_under_their_path_and_step(writers, tmp_path):
    train, evaluation = writers
    summaries.write_scalars(train, {"train/loss": 0.5, "train/learning_rate": np.float32(0.1)}, 7)
    summaries.write_scalars(
        train, {"train/loss": tf.constant(0.25)}, tf.Variable(9, dtype=tf.int64)
    )
    summaries.write_scalars(evaluation, {"eval/robust_accuracy/pgd-10": 0.4}, 9)
    found = read(tmp_path / "tensorboard" / "train")
    assert found["train/loss"] == [(7, 0.5), (9, 0.25)]
    assert found["train/learning_rate"] == [(7, np.float32(0.1))]
    assert read(tmp_path / "tensorboard" / "eval") == {
        "eval/robust_accuracy/pgd-10": [(9, np.float32(0.4))]
    }


def test_an_unusable_folder_is_an_error_at_once(tmp_path):
    (tmp_path / "tensorboard").write_text("a file in the way")
    with pytest.raises(tf.errors.OpError):
        events.create_writer(tmp_path / "tensorboard", "train")


def test_config_is_a_code_block(writers, tmp_path):
    config = json.dumps({"model": {"name": "resnet20"}, "seed": 0}, indent=2)
    summaries.write_config(writers[0], config)
    ((step, text),) = read(tmp_path / "tensorboard" / "train")["config"]
    text = text.item().decode()
    assert step == 0 and text.startswith("```json\n") and text.endswith("\n```")
    assert text[len("```json\n") : -len("\n```")] == config


def test_grid_is_one_picture_of_at_most_eight_rows(writers, tmp_path):
    clean, adversarial = examples(9)
    classes = np.arange(9)
    arguments = (clean, adversarial, classes, classes[::-1], classes, tuple("abcdefghi"))
    summaries.write_grid(writers[1], *map(tf.constant, arguments[:-1]), arguments[-1], step=3)
    ((step, values),) = read(tmp_path / "tensorboard" / "eval")["adversarial_examples"]
    assert step == 3 and len(values) == 3  # width, height, one PNG
    picture = tf.io.decode_png(values[2]).numpy()
    np.testing.assert_array_equal(picture, summaries.render_grid(*arguments))
    assert (
        picture.shape[0]
        == summaries.render_grid(*(column[:8] for column in arguments[:-1]), arguments[-1]).shape[0]
    )


def colours_of(picture):
    return set(map(tuple, np.unique(picture.reshape(-1, 3), axis=0).tolist()))


def test_every_pixel_is_shown_sharply_and_differences_are_magnified():
    clean = np.zeros([1, 2, 2, 3], np.float32)
    clean[0, 0, 0], clean[0, 1, 1] = (200 / 255, 0, 0), (0, 0, 100 / 255)
    adversarial = clean.copy()
    adversarial[0, 0, 1] = (0, 0.1, 0)  # magnified by int(0.5 / 0.1) = 5
    colours = colours_of(summaries.render_grid(clean, adversarial, [1], [0], [1], ()))
    wanted = [(200, 0, 0), (0, 0, 100), (0, 25, 0), (GREY, GREY, GREY), (GREY, 255, GREY)]
    for colour in wanted:  # to one level, for the rounding
        assert any(np.abs(np.subtract(colour, other)).max() <= 1 for other in colours), colour


def test_no_change_is_drawn_grey_and_large_changes_are_not_magnified():
    clean, _ = examples(1)
    unchanged, factor = summaries._magnified(clean, clean)
    assert factor == 1 and (unchanged == 0.5).all()
    _, factor = summaries._magnified(clean, 1 - clean)
    assert factor == 1
    stretched, factor = summaries._magnified(*examples(2, epsilon=4 / 255))
    assert factor == 31 and 0 <= stretched.min() and stretched.max() <= 1


def test_right_and_wrong_predictions_are_told_apart():
    clean, adversarial = examples(1)
    right, wrong, mixed = (
        colours_of(summaries.render_grid(clean, adversarial, [before], [after], [2], ()))
        for before, after in ((2, 2), (1, 1), (2, 1))
    )
    green, red = (26, 127, 55), (198, 40, 40)
    assert green in right and red not in right
    assert red in wrong and green not in wrong
    assert green in mixed and red in mixed


def test_long_and_missing_class_names():
    clean, adversarial = examples(3)
    names = ("a name that is far too long to be written under a picture", "b")
    picture = summaries.render_grid(clean, adversarial, [0, 1, 2], [2, 1, 0], [0, 1, 2], names)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert (picture[:, :3] == 255).all() and (picture[:, -3:] == 255).all()  # nothing cut off


def test_grey_data_is_drawn_grey_and_the_attack_is_named():
    clean, adversarial = examples(2)
    grey = np.repeat(clean[..., :1], 3, axis=-1)
    changed = grey + adversarial - clean  # other changes in each channel
    classes = np.arange(2)
    drawn = summaries.render_grid(grey, changed, classes, classes, classes, (), attack="pgd-20")
    mean = np.repeat(changed.mean(-1, keepdims=True), 3, axis=-1)
    again = summaries.render_grid(grey, mean, classes, classes, classes, (), attack="pgd-20")
    np.testing.assert_array_equal(drawn, again)
    other = summaries.render_grid(grey, changed, classes, classes, classes, (), attack="square")
    assert (drawn != other).any()
    coloured = summaries.render_grid(clean, adversarial, classes, classes, classes, ())
    middle = coloured[150:250, 250:350]
    assert (np.ptp(middle, axis=-1) > 0).any()
