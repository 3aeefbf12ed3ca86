"""Attacks by name: one list runs them all, and no row of the table may be missing from it."""

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks

EPSILON = 8 / 255
IMAGES = np.random.RandomState(0).rand(5, 6, 6, 3).astype("float32")
WEIGHTS = np.random.RandomState(1).randn(108, 3).astype("float32")

# table row -> names of that row to run
EXAMPLES = {
    "clean": ["clean"],
    "fgsm": ["fgsm"],
    "pgd-N[xR]": ["pgd-1", "pgd-12", "pgd-3x2"],
    "cw-N[xR]": ["cw-12", "cw-3x2"],
    "apgd-ce[-N][xR][-eotM]": ["apgd-ce-20", "apgd-ce-5x2-eot2"],
    "apgd-dlr[-N][xR][-eotM]": ["apgd-dlr-20"],
    "apgd-t[-N][xR][-eotM]": ["apgd-t-10"],
    "fab[-N][xR]": ["fab-5x2"],
    "fab-t[-N][xR]": ["fab-t-5"],
    "square[-N][xR]": ["square-60x2"],
    "autoattack": ["autoattack"],
}


def logits_fn(images):
    return tf.tanh(tf.reshape(images, [-1, 108]) @ WEIGHTS / 3)


LABELS = np.argmax(logits_fn(IMAGES), -1).astype("int32")


def test_every_attack_of_the_table_is_tried_here():
    assert set(EXAMPLES) == set(attacks.ATTACKS)


@pytest.mark.parametrize("name", [name for row in EXAMPLES.values() for name in row])
def test_every_attack_stays_in_the_ball_and_raises_the_loss(name):
    attack = attacks.create(name, epsilon=EPSILON, num_classes=3, version="apgd-ce-5,square-20")
    if name == "clean":
        assert attack is None
        return
    attack = tf.function(functools.partial(attack, logits_fn))
    attacked = attack(IMAGES, LABELS, tf.constant([1, 2])).numpy()
    assert attacked.dtype == np.float32
    assert np.abs(attacked - IMAGES).max() <= EPSILON + 1e-6
    assert 0 <= attacked.min() and attacked.max() <= 1
    of_margin = re.search("dlr|-t|cw", name)
    loss = attacks.margin if of_margin else attacks.cross_entropy
    before, after = (loss(logits_fn(x), LABELS) for x in (IMAGES, attacked))
    if "fab" in name or name == "autoattack":  # which change only what they break
        changed = (attacked != IMAGES).any((1, 2, 3))
        assert changed.any()
        assert (np.argmax(logits_fn(attacked), -1) != LABELS)[changed].all()
    else:
        assert (after.numpy() > before.numpy()).all()
    again = attack(IMAGES, LABELS, tf.constant([1, 2]))
    np.testing.assert_array_equal(again, attacked)


@pytest.mark.parametrize("name", [name for row in EXAMPLES.values() for name in row][1:])
def test_zero_epsilon_returns_the_images(name):
    """In two steps as in many, for which no graph is worth while."""
    two_steps = re.sub(r"-\d+", "-2", name)
    attack = attacks.create(two_steps, epsilon=0.0, version="apgd-ce-2,square-2")
    attacked = attack(logits_fn, IMAGES, LABELS, 0)
    np.testing.assert_array_equal(attacked, IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("low, high", [(-1, 1), (0, 255)])
@pytest.mark.parametrize("name", [name for row in EXAMPLES.values() for name in row][1:])
def test_every_attack_knows_other_bounds(name, low, high):
    """Epsilon is in their units; what can be broken in [0, 1] can be broken there."""
    width = high - low
    settings = dict(num_classes=3, version="apgd-ce-5,square-20")
    there = attacks.create(name, epsilon=EPSILON * width, bounds=(low, high), **settings)
    images = (low + width * IMAGES).astype("float32")
    found = tf.function(
        lambda: there(lambda x: logits_fn((x - low) / width), images, LABELS, (1, 2))
    )()
    assert (np.abs(found - images) <= width * (EPSILON + 1e-6)).all()
    assert low <= found.numpy().min() and found.numpy().max() <= high
    here = attacks.create(name, epsilon=EPSILON, **settings)
    expected = tf.function(lambda: here(logits_fn, IMAGES, LABELS, (1, 2)))()
    np.testing.assert_array_equal(
        np.argmax(logits_fn((found - low) / width), -1), np.argmax(logits_fn(expected), -1)
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="images must be within"):
        there(logits_fn, images + width, LABELS, 0)


def test_names_carry_steps_and_restarts():
    attack = attacks.create("pgd-50x10", epsilon=0.5, norm="l2", compiled="loop")
    assert (attack.num_steps, attack.runs, attack.compiled) == (50, 10, "loop")
    assert attack.threat == attacks.ThreatModel("l2", epsilon=0.5)
    assert attacks.create("pgd-7", epsilon=EPSILON).runs == 1
    one_step = attacks.create("fgsm", epsilon=EPSILON, step_size=0.5)
    np.testing.assert_array_equal(  # its step is epsilon
        one_step(logits_fn, IMAGES, LABELS, 0),
        attacks.fgsm(logits_fn, IMAGES, LABELS, epsilon=EPSILON),
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "pgd",
        "pgd-",
        "pgd-0",
        "pgd-05",
        "pgd-1.5",
        "pgd-10x",
        "PGD-10",
        "pgd-10x0",
        "pgd--1",
        "pgd-N",
        "xpgd-10",
        "pgd-10 ",
        "auto-attack",
        "cw",
        "cw-10-eot2",
        "apgd-50",
        "apgd-ce-0",
        "apgd-ce-eot",
        "square-x2",
        "fab-t-5-eot2",
        "nosuch-50x5",
        "autoattack-50",
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(name):
    expected = re.escape(f"unknown attack {name!r}: allowed are clean, fgsm, pgd-N[xR], ")
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


@pytest.mark.parametrize(
    "name, num_steps, runs",
    [
        ("apgd-ce", 101, 1),
        ("apgd-ce-30x5", 31, 5),
        ("apgd-dlrx5", 101, 5),
        ("apgd-t", 101, 9),
        ("apgd-tx2", 101, 18),
        ("fab-t", 100, 9),
        ("fab-7x3", 7, 3),
        ("square-200", 200, 1),
    ],
)
def test_budgets_are_in_the_names(name, num_steps, runs):
    # Of APGD the start is looked at in a step of its own.
    attack = attacks.create(name, epsilon=EPSILON)
    assert (attack.num_steps, attack.runs) == (num_steps, runs)


def test_cw_climbs_the_margin_over_one_other_class_where_pgd_weighs_all():
    """One step from anywhere in the ball to its corner, where the gradient is the same."""
    images = np.full([2, 6, 6, 3], 0.5, "float32")
    shift = np.array([1.0, 0.5, 0.4]) - images[0].ravel() @ WEIGHTS  # the logits of the images
    nearly_flat = lambda x: 0.01 * (tf.reshape(x, [-1, 108]) @ WEIGHTS + shift.astype("float32"))
    cw, pgd = (
        attacks.create(name, epsilon=0.001, step_size=0.002)(nearly_flat, images, [0, 2], 5).numpy()
        for name in ("cw-1", "pgd-1")
    )
    for example, (true, highest) in enumerate([(0, 1), (2, 0)]):
        sign = np.sign(WEIGHTS[:, highest] - WEIGHTS[:, true]).reshape(6, 6, 3)
        np.testing.assert_allclose(cw[example], 0.5 + 0.001 * sign, atol=1e-6)
        assert np.abs(pgd[example] - cw[example]).max() > 0.0019


def test_what_the_checks_ask_of_cw():
    assert attacks.needs_gradient("cw-10x2") and not attacks.is_of_autoattack("cw-10")
    search = attacks.create("cw-10x2", epsilon=EPSILON, robust_if="any_iterate")
    assert (search.num_steps, search.runs, search.stops) == (10, 2, True)


def test_square_has_the_queries_of_the_reference():
    assert attacks.create("square", epsilon=EPSILON).num_steps == 5000


def test_no_target_is_tried_twice_where_the_classes_are_known():
    assert [
        attacks.create(name, epsilon=EPSILON, num_classes=classes).runs
        for name, classes in (("apgd-t", 4), ("fab-tx2", 3), ("apgd-t", 1000))
    ] == [3, 4, 9]


def test_versions_of_autoattack():
    def stages(version):
        return attacks.create("autoattack", epsilon=EPSILON, version=version).stages

    assert list(stages("standard")) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert [(name, stage.runs) for name, stage in stages("plus").items()] == [
        ("apgd-cex5", 5),
        ("apgd-dlrx5", 5),
        ("fabx5", 5),
        ("square", 1),
        ("apgd-t", 9),
        ("fab-t", 9),
    ]
    assert list(stages("rand")) == ["apgd-ce-eot20", "apgd-dlr-eot20"]
    assert list(stages("square-50, pgd-3x2")) == ["square-50", "pgd-3x2"]
    for version in ("strong", "standard,plus", "clean,square", "autoattack", ""):
        with pytest.raises(ValueError):
            stages(version)


@pytest.mark.parametrize(
    "norm, epsilon", [("linf", 0.2), pytest.param("l2", 1.0, marks=pytest.mark.slow)]
)
def test_every_attack_breaks_a_linear_model_exactly_where_it_can_be_broken(norm, epsilon):
    """Two classes and images off the bounds: the distance to the boundary is known."""
    weights = WEIGHTS[:, :2].copy()
    if norm == "linf":  # one sign for a channel of a column, which square needs to reach a corner
        weights = np.abs(weights) * np.sign(WEIGHTS[:3, :2])[None].repeat(36, 0).reshape(108, 2)
    gap = weights[:, 1] - weights[:, 0]
    dual = np.abs(gap).sum() if norm == "linf" else np.linalg.norm(gap)
    images = np.full([8, 6, 6, 3], 0.5, "float32")
    shares = np.array([0.2, 0.5, 0.8, 0.97, 1.03, 1.2, 1.5, 3.0])  # of epsilon, to the boundary
    offset = -images[0].ravel() @ gap - shares * epsilon * dual

    def linear(x):
        score = tf.reshape(x, [-1, 108]) @ weights
        return score + tf.stack([tf.zeros(8), tf.constant(offset, tf.float32)], -1)

    names = ["pgd-20", "cw-20", "apgd-ce-50", "apgd-dlr-50", "apgd-t-50", "fab-20", "fab-t-20"]
    for name in names:
        attack = attacks.create(
            name, epsilon=epsilon, norm=norm, num_classes=2, step_size=epsilon / 2
        )
        found = tf.function(functools.partial(attack, linear))(images, np.zeros(8, "int32"), 3)
        broken = np.argmax(linear(found), -1) == 1
        np.testing.assert_array_equal(broken, shares < 1, err_msg=name)
    square = attacks.create("square-500", epsilon=epsilon, norm=norm)
    found = tf.function(functools.partial(square, linear))(images, np.zeros(8, "int32"), 3)
    broken = np.argmax(linear(found), -1) == 1
    assert not broken[shares > 1].any()
    assert broken[shares < (0.9 if norm == "linf" else 0.3)].all()
