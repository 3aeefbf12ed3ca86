"""Which of the images that PGD comes by is its result, over restarts and within a run."""

import numpy as np
import pytest
import tensorflow as tf
from attacked import EPSILON, IMAGES, LABELS, Counting, linear, logits_fn, op_by_op

from sat_tf.attacks import cross_entropy, pgd, pgd_search

pytestmark = pytest.mark.smoke


def test_restarts_are_never_weaker_and_break_at_least_as_many():
    clean_labels = tf.argmax(logits_fn(IMAGES), -1, tf.int32)  # so that some can be broken
    previous = np.full(6, -np.inf)
    was_broken = np.zeros(6, bool)
    for restarts in (1, 2, 4):
        attacked = pgd(
            logits_fn,
            IMAGES,
            clean_labels,
            0,
            epsilon=EPSILON,
            num_steps=1,
            step_size=1 / 255,
            restarts=restarts,
        )
        logits = logits_fn(attacked)
        broken = (tf.argmax(logits, -1, tf.int32) != clean_labels).numpy()
        value = cross_entropy(logits, clean_labels).numpy()
        assert (broken | ~was_broken).all()
        assert (was_broken | broken | (value >= previous)).all()
        previous, was_broken = value, broken


def test_a_misclassified_restart_is_preferred_to_a_higher_loss():
    """The first restart breaks the example, the second has the higher (made-up) loss."""
    calls = []

    def made_up_loss(logits, labels):
        return tf.reduce_sum(logits, -1) * 0 + float(len(calls))

    def logits_fn(images):  # called for: step, result, step, result
        calls.append(images.numpy())
        broken = len(calls) == 2
        return tf.stack(
            [
                images[:, 0, 0, 0] + (0.0 if broken else 10.0),
                images[:, 0, 0, 1] + (10.0 if broken else 0.0),
            ],
            -1,
        )

    with op_by_op():
        attacked = pgd(
            logits_fn,
            IMAGES,
            np.zeros(6, "int32"),
            0,
            epsilon=EPSILON,
            num_steps=1,
            restarts=2,
            loss=made_up_loss,
        )
    np.testing.assert_array_equal(attacked, calls[1])
    assert len(calls) == 4 and np.abs(calls[1] - calls[3]).max() > 0


def test_one_restart_costs_no_extra_forward_pass():
    for restarts, passes in ((1, 3), (2, 8)):
        counting = Counting(linear)
        with op_by_op():
            pgd(counting, IMAGES, LABELS, 0, epsilon=EPSILON, num_steps=3, restarts=restarts)
        assert counting.calls == passes


# What an example has to survive.


def stretch(images):
    """Class 1 only between the greys 0.5 and 0.6; further on, an iterate is right again."""
    grey = tf.reduce_mean(images, [1, 2, 3])
    return 100 * tf.stack([tf.zeros_like(grey), 0.05 - tf.abs(grey - 0.55), grey - 100], -1)


@pytest.mark.parametrize(
    "loss, robust_if, grey",
    [
        (lambda logits, labels: logits[:, 2], "final", 0.7),  # rises with grey
        (lambda logits, labels: logits[:, 2], "best_loss", 0.7),
        (lambda logits, labels: logits[:, 2], "any_iterate", 0.55),
        (
            lambda logits, labels: -tf.abs(logits[:, 2] + 10000 - 58),
            "final",
            0.7,
        ),  # rises up to 0.58
        (lambda logits, labels: -tf.abs(logits[:, 2] + 10000 - 58), "best_loss", 0.55),
    ],
)
def test_the_iterate_that_is_judged(loss, robust_if, grey):
    search = pgd_search(
        epsilon=0.5, num_steps=2, step_size=0.15, random_start=False, robust_if=robust_if, loss=loss
    )
    found = search(stretch, tf.fill([3, 2, 2, 3], 0.4), tf.zeros([3], tf.int32), 0)
    np.testing.assert_allclose(found, grey, atol=1e-6)


def test_the_best_loss_does_not_hide_logits_that_are_no_number():
    def fragile(images):
        grey = tf.reduce_mean(images, [1, 2, 3])
        return tf.stack([tf.zeros_like(grey), tf.where(grey > 0.5, np.nan, grey)], -1)

    search = pgd_search(
        epsilon=0.5, num_steps=3, step_size=0.15, random_start=False, robust_if="best_loss"
    )
    found = search(fragile, tf.fill([1, 2, 2, 3], 0.4), tf.zeros([1], tf.int32), 0)
    assert not np.isfinite(fragile(found)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_with_a_seed_for_each_example_its_result_depends_on_no_other(norm):
    search = pgd_search(epsilon=0.1, num_steps=3, restarts=2, norm=norm)
    seeds = tf.constant([[1, number] for number in range(6)], tf.int64)
    whole = search(logits_fn, IMAGES, LABELS, seeds).numpy()
    order = [4, 0, 3]
    part = search(logits_fn, IMAGES[order], LABELS[order], tf.gather(seeds, order))
    np.testing.assert_allclose(part, whole[order], atol=1e-6)
    assert len(np.unique((whole - IMAGES)[:, 0, 0, 0])) > 1
