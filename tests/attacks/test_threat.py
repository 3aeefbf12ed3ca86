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


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"norm": "l3"}, "norm='l3': known norms are linf, l2"),
        ({"epsilon": -1e-9}, "epsilon=-1e-09"),
        ({"epsilon": 4}, "epsilon=4: .*4/255"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"epsilon": float("inf")}, "epsilon=inf"),
        ({"bounds": (1, 0)}, r"bounds=\(1, 0\)"),
        ({"bounds": (0, float("inf"))}, "bounds="),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ThreatModel(**{"epsilon": 0.1, **settings})


def test_l2_projects_to_the_ball_and_leaves_what_is_inside():
    threat = ThreatModel("l2", epsilon=0.5)
    images = np.full((2, 2, 2, 3), 0.5, "float32")
    far, near = images.copy(), images.copy()
    far[:, 0, 0, 0] += 3.0
    near[:, 0, 0, :2] += np.float32([0.2, -0.3])
    images, far, near = map(tf.constant, (images, far, near))
    np.testing.assert_allclose(threat.size(images, threat.project(images, far)), 0.5, rtol=1e-6)
    np.testing.assert_allclose(threat.project(images, far)[:, 0, 0, 0], 1.0)
    np.testing.assert_array_equal(threat.project(images, near), near)
    np.testing.assert_allclose(threat.size(images, near), np.sqrt(0.13), rtol=1e-6)


def test_l2_noise_fills_the_ball_as_its_volume_does():
    threat = ThreatModel("l2", epsilon=2.0)
    noise = threat.random_start(tf.zeros([4000, 1, 1, 3]), tf.constant([1, 2]))
    length = np.linalg.norm(noise.numpy().reshape(-1, 3), axis=1)
    assert length.max() <= 2.0
    np.testing.assert_allclose((length < 1.0).mean(), 1 / 8, atol=0.02)  # half the radius
    np.testing.assert_allclose(noise.numpy().mean(0), 0, atol=0.05)


def test_l2_steps_have_unit_length_however_small_the_gradient():
    gradient = tf.concat([1e-25 * tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3])], 0)
    step = ThreatModel("l2", epsilon=1.0).ascent_direction(gradient).numpy()
    np.testing.assert_allclose(np.linalg.norm(step.reshape(2, -1), axis=1), [1.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_noise_with_a_seed_for_each_example_depends_on_no_other_example(norm):
    threat = ThreatModel(norm, epsilon=0.5)
    seeds = tf.constant([[0, 5], [0, 6], [7, 5]], tf.int64)
    noise = threat.random_start(tf.zeros([3, 4, 4, 3]), seeds).numpy()
    assert len(np.unique(noise[:, 0, 0, 0])) == 3
    order = [2, 0]
    again = threat.random_start(tf.ones([2, 4, 4, 3]), tf.gather(seeds, order))
    np.testing.assert_array_equal(again, noise[order])


@pytest.mark.parametrize("bounds", [255, (0,), (0, 1, 2), ("low", "high"), (0, float("inf")), None])
def test_bounds_that_are_no_range_are_refused(bounds):
    with pytest.raises(ValueError, match=r"^bounds=.*: give \(low, high\), finite, low < high$"):
        ThreatModel(epsilon=0.1, bounds=bounds)


def test_the_example_of_an_epsilon_is_in_the_units_of_the_bounds():
    with pytest.raises(ValueError, match=r"\[0, 1\], such as 4/255$"):
        ThreatModel(epsilon=4)
    with pytest.raises(ValueError, match=r"from 0 to 255, in .* \[0, 255\], such as 4$"):
        ThreatModel(epsilon=-1, bounds=(0, 255))
