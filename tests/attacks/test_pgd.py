"""The attack loop: what it computes, where it starts and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
from attacked import EPSILON, IMAGES, LABELS, TEMPLATES, linear, logits_fn, op_by_op

from sat_tf.attacks import cross_entropy, default_step_size, fgsm, pgd

pytestmark = pytest.mark.smoke


def test_linear_model_has_the_closed_form():
    # With two classes the gradient of a linear model is one direction, whatever the image.
    pair = TEMPLATES[:, :2]
    labels = np.array([0, 1, 0, 1, 0, 1], "int32")
    weights = (pair[:, 1] - pair[:, 0]).reshape(8, 8, 3)
    sign = np.sign(weights) * np.where(labels == 0, 1, -1)[:, None, None, None]
    expected = np.clip(IMAGES + EPSILON * sign, 0, 1)
    two_class = lambda images: tf.reshape(images, [-1, 192]) @ pair
    attacked = pgd(two_class, IMAGES, labels, 0, epsilon=EPSILON, num_steps=20)
    np.testing.assert_allclose(attacked, expected, atol=1e-6)
    np.testing.assert_allclose(
        fgsm(two_class, IMAGES, labels, epsilon=EPSILON), expected, atol=1e-6
    )
    one_step = pgd(
        two_class,
        IMAGES,
        labels,
        0,
        epsilon=EPSILON,
        num_steps=1,
        step_size=1 / 255,
        random_start=False,
    )
    np.testing.assert_allclose(one_step, np.clip(IMAGES + sign / 255, 0, 1), atol=1e-6)


def test_l2_reaches_the_closed_form_on_a_linear_model():
    pair = TEMPLATES[:, :2]
    gap = (pair[:, 1] - pair[:, 0]).reshape(8, 8, 3)
    images = np.full((6, 8, 8, 3), 0.5, "float32")
    found = pgd(
        lambda x: tf.reshape(x, [-1, 192]) @ pair,
        images,
        np.zeros(6, "int32"),
        1,
        epsilon=0.4,
        num_steps=3,
        step_size=0.2,
        norm="l2",
        random_start=False,
    )
    np.testing.assert_allclose(
        found.numpy() - images,
        np.broadcast_to(0.4 * gap / np.linalg.norm(gap), images.shape),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_steps": 1, "step_size": 0.5},
        {"restarts": 2},
        {"clip_start": True},
        {"clean_start_probability": 0.5},
        {"bounds": (0.25, 0.75)},
        {"epsilon": 0.0},
        {"epsilon": 1.0},
    ],
    ids=str,
)
def test_result_stays_in_the_ball_and_in_range(settings):
    settings = {"epsilon": EPSILON, "num_steps": 3, **settings}
    low, high = settings.get("bounds", (0.0, 1.0))
    images = np.clip(IMAGES, low, high)
    attacked = pgd(logits_fn, images, LABELS, 3, **settings).numpy()
    assert attacked.dtype == np.float32 and attacked.shape == images.shape
    assert np.abs(attacked - images).max() <= settings["epsilon"] + 1e-6
    assert low <= attacked.min() and attacked.max() <= high


def test_attack_raises_the_loss():
    attacked = pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=5)
    before, after = (cross_entropy(logits_fn(x), LABELS).numpy() for x in (IMAGES, attacked))
    assert (after > before).all()


def test_result_depends_on_the_seed_and_on_nothing_else():
    run = lambda seed: pgd(logits_fn, IMAGES, LABELS, seed, epsilon=EPSILON, num_steps=2).numpy()
    np.testing.assert_array_equal(run(5), run(5))
    np.testing.assert_array_equal(run((1, 5)), run(tf.constant([1, 5], tf.int64)))
    np.testing.assert_array_equal(run((1, 5)), run(tf.constant([1, 5], tf.int32)))
    assert np.abs(run(5) - run(6)).max() > 0 and np.abs(run((1, 5)) - run((2, 5))).max() > 0
    state = tf.random.get_global_generator().state.numpy()
    run(7)
    np.testing.assert_array_equal(tf.random.get_global_generator().state.numpy(), state)


def noises(seeds, **settings):
    """The noise with which attacks of mid-grey images start: that is all a step of 0 leaves."""
    grey = np.full((4, 8, 8, 3), 0.5, "float32")
    attack = tf.function(
        lambda seed: (
            pgd(
                linear,
                grey,
                LABELS[:4],
                seed,
                epsilon=EPSILON,
                num_steps=1,
                step_size=0.0,
                **settings,
            )
            - grey
        )
    )
    return np.stack([attack(tf.constant([0, seed])) for seed in seeds])


def test_start_is_uniform_in_the_ball():
    noise = noises(range(40)) / EPSILON
    assert np.abs(noise).max() <= 1 + 1e-5
    counts, _ = np.histogram(noise, 10, (-1.0001, 1.0001))
    assert np.abs(counts / noise.size - 0.1).max() < 0.01
    assert not np.array_equal(noise[0, 0], noise[0, 1])  # every example has its own


def test_clean_start_is_drawn_once_per_batch_and_as_often_as_asked():
    share_of_zeros = np.mean(noises(range(300), clean_start_probability=0.2) == 0, (1, 2, 3, 4))
    clean = share_of_zeros == 1
    assert (clean | (share_of_zeros < 0.01)).all()
    assert 0.13 < clean.mean() < 0.27  # 3 standard deviations are 0.07
    assert not noises([0], clean_start_probability=1.0).any()
    assert not noises([0], random_start=False).any()


def test_only_clip_start_fits_the_start_to_the_range():
    seen = []

    def logits_fn(images):
        seen.append(images.numpy())
        return linear(images)

    for clip_start in (False, True):
        with op_by_op():
            pgd(
                logits_fn,
                np.zeros_like(IMAGES),
                LABELS,
                0,
                epsilon=EPSILON,
                num_steps=1,
                clip_start=clip_start,
            )
    assert seen[0].min() < -EPSILON / 2 and seen[1].min() == 0
    np.testing.assert_array_equal(seen[1], np.clip(seen[0], 0, 1))


def test_step_size_is_the_release_rule_or_the_one_given():
    assert default_step_size(4 / 255, 1) == 4 / 255
    assert default_step_size(4 / 255, 200) == 1 / 255
    grey = np.full_like(IMAGES, 0.5)
    run = lambda **s: np.abs(
        pgd(linear, grey, LABELS, 0, epsilon=EPSILON, num_steps=2, random_start=False, **s).numpy()
        - grey
    ).max()
    np.testing.assert_allclose(run(), EPSILON, atol=1e-6)
    np.testing.assert_allclose(run(step_size=0.001), 0.002, atol=1e-6)


def test_in_0_to_255_the_attack_is_255_times_that_in_0_to_1():
    """With more steps than epsilon has grey levels, so that a step is one of those.

    The loss is highest 2.5 grey levels up: after an even number of steps, the attack is back at 2.
    """
    flat = lambda images: tf.reshape(images, [-1, 8 * 8 * 3])
    settings = dict(
        num_steps=12,
        random_start=False,
        loss=lambda logits, labels: (
            -tf.reduce_sum(tf.abs(logits - flat(0.9 * IMAGES) - 2.5 / 255), -1)
        ),
    )
    unit = pgd(flat, 0.9 * IMAGES, LABELS, 0, epsilon=EPSILON, **settings).numpy()
    grey = pgd(
        lambda images: flat(images / 255),
        255 * 0.9 * IMAGES,
        LABELS,
        0,
        epsilon=8,
        bounds=(0, 255),
        **settings,
    ).numpy()
    np.testing.assert_allclose(grey, 255 * 0.9 * IMAGES + 2, atol=1e-3)
    np.testing.assert_allclose(grey, 255 * unit, atol=1e-3)
    assert default_step_size(8, 12, (0, 255)) == default_step_size(8, 12, (-127.5, 127.5)) == 1


def test_loss_scale_changes_nothing_in_float32():
    plain, scaled = (
        pgd(logits_fn, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=3, loss_scale=scale).numpy()
        for scale in (1.0, 128.0)
    )
    np.testing.assert_array_equal(plain, scaled)  # a power of two is exact


# What it refuses.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"num_steps": 2.0}, "num_steps=2.0"),
        ({"restarts": 0}, "restarts=0"),
        ({"step_size": -1.0}, "step_size=-1.0"),
        ({"step_size": float("nan")}, "step_size=nan"),
        ({"epsilon": -0.1}, "epsilon=-0.1"),
        ({"epsilon": 4}, "epsilon=4"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"clean_start_probability": 1.5}, "clean_start_probability=1.5"),
        ({"loss_scale": 0.0}, "loss_scale=0.0"),
        ({"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\)"),
        ({"compiled": "yes"}, "'yes': allowed are none, step, loop"),
        ({"seed": 0.5}, "seed=0.5"),
        ({"seed": (1, 2, 3)}, r"seed=\(1, 2, 3\)"),
        ({"images": IMAGES.astype("uint8")}, "images are uint8"),
        ({"labels": LABELS.astype("float32")}, "labels are float32"),
        ({"logits_fn": lambda images: tf.zeros([6, 4])}, "not differentiable"),
    ],
)
def test_values_out_of_range_are_refused_by_name(settings, message):
    arguments = {
        "logits_fn": linear,
        "images": IMAGES,
        "labels": LABELS,
        "seed": 0,
        "epsilon": EPSILON,
        "num_steps": 1,
        **settings,
    }
    with pytest.raises(ValueError, match=message):
        pgd(**arguments)
