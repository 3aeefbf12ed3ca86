"""Attacks by name: one list runs them all, and no row of the table may be missing from it."""

import re

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks

EPSILON = 8 / 255
IMAGES = np.random.RandomState(0).rand(5, 6, 6, 3).astype("float32")
LABELS = np.array([0, 1, 2, 0, 1], "int32")
WEIGHTS = np.random.RandomState(1).randn(108, 3).astype("float32")

# table row -> names of that row to run
EXAMPLES = {"clean": ["clean"], "fgsm": ["fgsm"], "pgd-N[xR]": ["pgd-1", "pgd-12", "pgd-3x2"]}


def logits_fn(images):
    return tf.tanh(tf.reshape(images, [-1, 108]) @ WEIGHTS)


def test_every_attack_of_the_table_is_tried_here():
    assert set(EXAMPLES) == set(attacks.ATTACKS)


@pytest.mark.parametrize("name", [name for row in EXAMPLES.values() for name in row])
def test_every_attack_stays_in_the_ball_and_raises_the_loss(name):
    attack = attacks.create(name, epsilon=EPSILON)
    if name == "clean":
        assert attack is None
        return
    attacked = attack(logits_fn, IMAGES, LABELS, tf.constant([1, 2])).numpy()
    assert attacked.dtype == np.float32
    assert np.abs(attacked - IMAGES).max() <= EPSILON + 1e-6
    assert 0 <= attacked.min() and attacked.max() <= 1
    before, after = (attacks.cross_entropy(logits_fn(x), LABELS) for x in (IMAGES, attacked))
    assert (after.numpy() > before.numpy()).all()
    again = attack(logits_fn, IMAGES, LABELS, tf.constant([1, 2]))
    np.testing.assert_array_equal(again, attacked)


@pytest.mark.parametrize("name", [name for row in EXAMPLES.values() for name in row][1:])
def test_zero_epsilon_returns_the_images(name):
    attacked = attacks.create(name, epsilon=0.0)(logits_fn, IMAGES, LABELS, 0)
    np.testing.assert_array_equal(attacked, IMAGES)


def test_names_carry_steps_and_restarts():
    attack = attacks.create("pgd-50x10", epsilon=0.5, norm="l2", compiled="loop")
    assert (attack.num_steps, attack.runs, attack.compiled) == (50, 10, "loop")
    assert attack.threat == attacks.ThreatModel("l2", epsilon=0.5)
    assert attacks.create("pgd-7", epsilon=EPSILON).runs == 1
    one_step = attacks.create("fgsm", epsilon=EPSILON, step_size=0.5)
    np.testing.assert_array_equal(  # its step is epsilon
        one_step(logits_fn, IMAGES, LABELS, 0),
        attacks.fgsm(logits_fn, IMAGES, LABELS, epsilon=EPSILON))


@pytest.mark.parametrize("name", [
    "", "pgd", "pgd-", "pgd-0", "pgd-05", "pgd-1.5", "pgd-10x", "PGD-10", "pgd-10x0", "pgd--1",
    "pgd-N", "xpgd-10", "pgd-10 ", "autoattack"])
def test_unknown_names_are_refused_with_the_known_ones(name):
    expected = re.escape(f"unknown attack {name!r}: allowed are clean, fgsm, pgd-N[xR]")
    with pytest.raises(ValueError, match=expected):
        attacks.create(name, epsilon=EPSILON)


def test_lists_of_names_are_parsed_and_checked():
    assert attacks.parse_names("clean,pgd-20") == ("clean", "pgd-20")
    assert attacks.parse_names(" fgsm , pgd-3x2") == ("fgsm", "pgd-3x2")
    with pytest.raises(ValueError, match="'fgsm' is given twice"):
        attacks.parse_names("fgsm,clean,fgsm")
    for text in ("", "clean,", "clean;fgsm", "clean,nosuch"):
        with pytest.raises(ValueError, match="unknown attack"):
            attacks.parse_names(text)
