"""What is counted where two attacks are compared; the attacks themselves are in tests/peers."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.peers import agreement, ours
from benchmarks.peers.setting import Setting, settings

SETTING = Setting("square", 0.25)


def _side(*broken, excess=0.0):
    return agreement.Side(np.array(broken, bool), excess)


def _sign_of_the_pixel(images):
    """Logits of two classes for images of one pixel: the second from 0.5 up."""
    return tf.stack([0.5 - images[:, 0, 0, 0], images[:, 0, 0, 0] - 0.5], -1)


def test_images_are_counted_by_who_breaks_them():
    row = agreement.compare(SETTING, _side([1, 1, 0, 0, 0]), _side([1, 0, 1, 1, 0], excess=0.5))
    assert row["broken_by"] == {"both": 1, "only_ours": 1, "only_theirs": 2, "neither": 1}
    assert row["robust_accuracy"] == {"ours": 0.6, "theirs": 0.4}
    assert row["excess"] == {"ours": 0.0, "theirs": 0.5}
    assert "| square | linf | 0.25 | 60.0 | 40.0 | 1 | 1 | 2 | 1 |" in agreement.markdown([row])


def test_starts_that_disagree():
    # One of three starts breaks the first image: two of three pairs differ.  No pair on the others.
    side = _side([1, 1, 0], [0, 1, 0], [0, 1, 0])
    assert side.disagreement == pytest.approx(2 / 3 / 3)
    assert side.robust_accuracy == pytest.approx(5 / 9)
    assert _side([1, 0]).disagreement == 0


def test_what_stands_after_each_stage():
    pairs = {
        "a": (_side([1, 0, 0]), _side([0, 0, 0], excess=0.1)),
        "b": (_side([0, 1, 0]), _side([0, 0, 1])),
    }
    first, second = agreement.after_each(SETTING, pairs)
    assert first["robust_accuracy"] == pytest.approx({"ours": 2 / 3, "theirs": 1})
    assert second["robust_accuracy"] == pytest.approx({"ours": 1 / 3, "theirs": 2 / 3})
    assert second["excess"] == {"ours": 0.0, "theirs": 0.1}


def test_results_are_judged_by_the_network_and_the_ball():
    images = np.float32([0.2, 0.4, 0.9]).reshape(3, 1, 1, 1)
    found = np.float32([0.45, 0.65, 0.9]).reshape(3, 1, 1, 1)  # the third is misclassified as it is
    labels = np.int32([0, 0, 0])
    side = agreement.judged(_sign_of_the_pixel, images, labels, found, SETTING)
    assert side.broken.tolist() == [[False, True, True]]
    assert side.excess < agreement.ROUNDING
    outside = agreement.judged(_sign_of_the_pixel, images, labels, found + 0.1, SETTING)
    assert outside.excess == pytest.approx(0.1, rel=1e-3)


def test_our_side_is_one_of_every_start():
    images = np.float32([0.2, 0.4, 0.9]).reshape(3, 1, 1, 1)
    wanted = [setting for setting in settings("linf", 0.2) if setting.algorithm == "pgd"]
    sides = ours.run(_sign_of_the_pixel, images, np.int32([0, 0, 1]), wanted)
    from_image, random = (sides[setting].broken for setting in wanted)
    assert from_image.tolist() == [[False, True, False]]
    assert random.shape == (8, 3)
    # A start on the wrong side of the image may be too far away for 20 steps.
    assert random.any(axis=0).tolist() == [False, True, False]
