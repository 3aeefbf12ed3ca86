"""The threat model: the ball, the range of pixels, and where attacks start in them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from sat_tf.attacks.threat import ThreatModel

IMAGES = np.array([[0.0, 0.5, 1.0, 0.05]], "float32").reshape(1, 2, 2, 1)


def test_projection_is_the_nearest_point_of_ball_and_range():
    threat = ThreatModel(epsilon=0.1)
    far = np.array([[-3.0, 0.55, 3.0, -3.0]], "float32").reshape(1, 2, 2, 1)
    expected = np.array([[0.0, 0.55, 1.0, 0.0]]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(threat.project(IMAGES, far), expected, atol=1e-7)
    np.testing.assert_array_equal(threat.project(IMAGES, IMAGES), IMAGES)


def test_projection_equals_the_release_clip_of_clipped_corners():
    epsilon, random = 0.07, np.random.RandomState(0)
    images = random.rand(4, 3, 3, 2).astype("float32")
    anywhere = (images + random.randn(*images.shape) * 0.2).astype("float32")
    low, high = np.clip(images - epsilon, 0, 1), np.clip(images + epsilon, 0, 1)
    projected = ThreatModel(epsilon=epsilon).project(images, anywhere)
    np.testing.assert_allclose(projected, np.clip(anywhere, low, high), atol=1e-7)


def test_start_is_in_the_ball_but_free_of_the_range():
    threat = ThreatModel(epsilon=0.1)
    images = tf.zeros([8, 4, 4, 3])
    noise = threat.random_start(images, tf.constant([1, 2]))
    assert noise.shape == images.shape and noise.dtype == tf.float32
    assert -0.1 <= tf.reduce_min(noise) < -0.09 and 0.09 < tf.reduce_max(noise) <= 0.1
    np.testing.assert_array_equal(noise, threat.random_start(images + 1, tf.constant([1, 2])))


def test_ascent_direction_is_the_sign_for_linf():
    direction = ThreatModel(epsilon=0.1).ascent_direction(tf.constant([-1e-30, 0.0, 7.0]))
    np.testing.assert_array_equal(direction, [-1, 0, 1])


def test_it_is_frozen_and_keeps_plain_numbers():
    threat = ThreatModel(epsilon=np.float64(0.5), bounds=(0, 2))
    assert (threat.norm, threat.epsilon, threat.bounds) == ("linf", 0.5, (0.0, 2.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        threat.epsilon = 0.1


@pytest.mark.parametrize("settings, message", [
    ({"norm": "l2"}, "norm='l2': known norms are linf"), ({"epsilon": -1e-9}, "epsilon=-1e-09"),
    ({"epsilon": 4}, "epsilon=4: .*4/255"), ({"epsilon": float("nan")}, "epsilon=nan"),
    ({"epsilon": float("inf")}, "epsilon=inf"), ({"bounds": (1, 0)}, r"bounds=\(1, 0\)"),
    ({"bounds": (0, float("inf"))}, "bounds=")], ids=str)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ThreatModel(**{"epsilon": 0.1, **settings})
