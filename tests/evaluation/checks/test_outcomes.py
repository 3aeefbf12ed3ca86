"""What attacks achieved, on given outcomes and on those of a network that masks its gradients."""

import numpy as np
import pytest
import tensorflow as tf
import tiny

from sat_tf.attacks import ThreatModel, pgd
from sat_tf.evaluation.checks import outcomes as outcome_checks
from sat_tf.evaluation.checks.network import CHECKS
from sat_tf.evaluation.checks.outcomes import review, robust_at_any_epsilon

EPSILON = 0.1
THREAT = ThreatModel(epsilon=EPSILON)
STEP = 0.02  # ten of them cross the ball
COUNT = 1000
CORRECT = np.arange(COUNT) >= 100


def standing(count):
    """Which examples an attack leaves, the last `count`."""
    return np.arange(COUNT) >= COUNT - count


def found(survives, *, losses=None, transferred=None, correct=CORRECT, step_size=STEP):
    findings = review(
        survives,
        correct,
        threat=THREAT,
        step_size=step_size,
        losses=losses,
        transferred=transferred,
    )
    assert all(finding.name in CHECKS and "\n" not in finding.text for finding in findings)
    return {finding.name: finding.text for finding in findings}


def test_attacks_that_get_better_with_effort_are_not_reported():
    levels = {"fgsm": 1.0, "pgd-10": 2.0, "pgd-50": 2.1, "pgd-50x9": 2.2}
    losses = {name: np.linspace(0, level, COUNT) for name, level in levels.items()}
    assert (
        found(
            {
                "fgsm": standing(600),
                "pgd-10": standing(500),
                "pgd-50": standing(490),
                "apgd-ce": standing(480),
                "apgd-t": standing(470),
                "square": standing(550),
            },
            losses=losses,
            transferred={"other": standing(700)},
        )
        == {}
    )
    assert found({}) == found({"square": standing(5)}) == {}


@pytest.mark.parametrize("broken, expected", [(0, False), (1, False), (2, True), (5, True)])
def test_square_that_breaks_what_white_box_attacks_left(broken, expected):
    survives = {"apgd-ce": standing(500), "fab-t": standing(510), "square": standing(500 - broken)}
    text = found(survives).get("square_beats_white_box", "")
    assert bool(text) == expected
    if expected:
        assert f"{broken} of the 500 examples that apgd-ce, fab-t left" in text


def test_square_may_break_two_thousandths():
    survives = {"apgd-ce": np.ones(2000, bool), "square": np.arange(2000) >= 4}
    assert found(survives, correct=np.ones(2000, bool)) == {}
    survives["square"][4] = False
    assert list(found(survives, correct=np.ones(2000, bool))) == ["square_beats_white_box"]


def test_square_gets_no_credit_for_what_another_attack_broke():
    survives = {"apgd-ce": standing(500), "fab-t": ~standing(450), "square": ~standing(400)}
    assert found(survives) == {}
    survives["autoattack"] = standing(10)  # Square is a part of it
    assert found(survives) == {}


@pytest.mark.parametrize("single", ["fgsm", "pgd-1"])
@pytest.mark.parametrize("lead, expected", [(-50, False), (0, False), (10, False), (11, True)])
def test_a_single_step_that_beats_many(single, lead, expected):
    survives = {single: standing(500), "pgd-20": standing(500 + lead), "pgd-50": standing(500)}
    text = found(survives).get("single_step_beats_many", "")
    assert bool(text) == expected
    if expected:
        assert f"{single} leaves 500 of 1000 examples standing, pgd-20 511" in text


def test_a_lead_by_chance_is_not_reported():
    fgsm, pgd_20 = standing(500), standing(500).copy()
    pgd_20[480:500], pgd_20[500:505] = True, False  # 20 against 5, of 1000
    assert "single_step_beats_many" in found({"fgsm": fgsm, "pgd-20": pgd_20})
    pgd_20[500:508] = False  # 20 against 8: a lead of 12, and a deviation of 5.3 by chance
    pgd_20[460:480], pgd_20[508:528] = True, False  # 40 against 28: 12, and 8.2
    assert found({"fgsm": fgsm, "pgd-20": pgd_20}) == {}


def test_steps_that_cannot_cross_the_ball_may_end_at_a_lower_loss_but_not_break_less():
    survives = {"fgsm": standing(500), "pgd-20": standing(600)}
    losses = {"fgsm": np.full(COUNT, 2.0), "pgd-20": np.full(COUNT, 1.0)}
    both = {"single_step_beats_many", "more_steps_do_not_help"}
    assert set(found(survives, losses=losses, step_size=0.01)) == both
    assert set(found(survives, losses=losses, step_size=0.0099)) == {"single_step_beats_many"}
    assert set(found(survives, losses=losses, step_size=None)) == {  # epsilon / 20 each
        "single_step_beats_many"
    }
    # What is longer by the same rule gets further.
    losses = {"pgd-5": np.full(COUNT, 2.0), "pgd-20": np.full(COUNT, 1.0)}
    assert set(found({}, losses=losses, step_size=None)) == {"more_steps_do_not_help"}


def test_a_loss_that_rises_with_fewer_steps():
    random = np.random.default_rng(0)
    base = random.exponential(1.0, COUNT)
    losses = {"fgsm": base * 0.9, "pgd-10": base * 1.1, "pgd-50": base}
    text = found({}, losses=losses)["more_steps_do_not_help"]
    means = (np.mean(base[CORRECT] * factor) for factor in (1.1, 1.0))
    assert "pgd-10 ends at a mean cross-entropy of {:.4g}, pgd-50 at {:.4g} ".format(*means) in text
    within = {"pgd-10": base * 1.04, "pgd-50": base}
    assert found({}, losses=within) == {}
    noisy = {"pgd-10": base + 0.06 + random.normal(0, 2, COUNT), "pgd-50": base}
    assert found({}, losses=noisy) == {}  # 6 %, but less than a standard error
    assert found({}, losses={"pgd-10x5": base * 2, "pgd-50": base}) == {}  # restarts help too
    assert found({}, losses={"pgd-10:swish": base * 2, "pgd-50": base}) == {}


def test_only_correctly_classified_examples_count():
    wrong = ~CORRECT
    survives = {"fgsm": CORRECT, "pgd-20": np.ones(COUNT, bool)}
    losses = {"pgd-5": np.where(wrong, 100.0, 1.0), "pgd-20": np.ones(COUNT)}
    assert found(survives, losses=losses) == {}
    assert found(survives, losses=losses, correct=np.zeros(COUNT, bool)) == {}


def test_transfer_that_beats_white_box_attacks():
    survives = {"pgd-20": standing(500), "apgd-ce": ~standing(480), "square": standing(1)}
    # Together the gradient attacks leave 500 - 480 = 20.
    assert found({"pgd-20": survives["pgd-20"]}, transferred={"other": standing(490)}) == {}
    text = found(
        {"pgd-20": survives["pgd-20"]}, transferred={"third": standing(480), "other": standing(450)}
    )["transfer_beats_white_box"]
    assert "images of other leave 450" in text and "pgd-20 together 500" in text
    survives.pop("square")
    assert "transfer_beats_white_box" not in found(survives, transferred={"other": standing(450)})


@pytest.mark.parametrize("left, expected", [(0, False), (6, False), (7, True), (60, True)])
def test_more_than_a_tenth_left_without_a_limit(left, expected):
    correct = np.arange(64) >= 4
    finding = robust_at_any_epsilon(np.arange(64) >= 64 - left, correct, attack="it")
    assert bool(finding) == expected
    assert not expected or f"{left} of 60" in finding.text
    assert robust_at_any_epsilon(np.ones(7, bool), np.ones(7, bool), attack="it") is None


# A network that masks its gradients

IMAGES, LABELS = tiny.examples(64, seed=1)


def _margins(logits_fn, images):
    logits = np.array(logits_fn(images))
    true = logits[np.arange(len(LABELS)), LABELS]
    logits[np.arange(len(LABELS)), LABELS] = -np.inf
    return true - logits.max(-1)


def _search_squares(logits_fn, *, queries=100):
    """Returns whether each example stands squares put at random, kept where the margin falls."""
    random = np.random.default_rng(0)
    best, least = IMAGES, _margins(logits_fn, IMAGES)
    for _ in range(queries):
        side = random.integers(1, 5)
        row, column = random.integers(0, 9 - side, 2)
        window = slice(None), slice(row, row + side), slice(column, column + side)
        new = best.copy()
        new[window] = np.clip(
            IMAGES[window] + EPSILON * random.choice([-1, 1], (len(IMAGES), 1, 1, 3)), 0, 1
        )
        margins = _margins(logits_fn, new)
        best, least = (
            np.where((margins < least)[:, None, None, None], new, best),
            np.minimum(margins, least),
        )
    return least > 0


def _outcomes(logits_fn, other):
    def attack(logits_fn, steps, **settings):
        return tf.function(
            lambda images, labels: pgd(
                logits_fn, images, labels, 0, epsilon=EPSILON, num_steps=steps, **settings
            ),
            autograph=False,
        )(IMAGES, LABELS)

    images = {
        "fgsm": attack(logits_fn, 1, step_size=EPSILON, random_start=False),
        "pgd-20": attack(logits_fn, 20, step_size=STEP),
    }
    survives = {name: _margins(logits_fn, adversarial) > 0 for name, adversarial in images.items()}
    survives["square"] = _search_squares(logits_fn)
    losses = {
        name: tf.keras.losses.sparse_categorical_crossentropy(
            LABELS, logits_fn(adversarial), from_logits=True
        ).numpy()
        for name, adversarial in images.items()
    }
    transferred = {"the other network": _margins(logits_fn, attack(other, 20, step_size=STEP)) > 0}
    return found(
        survives, losses=losses, transferred=transferred, correct=_margins(logits_fn, IMAGES) > 0
    )


def test_a_network_that_masks_its_gradients_is_found_by_all_four():
    logits_fn = tiny.trained("swish")
    assert set(
        _outcomes(
            lambda images: logits_fn(images) + 0.5 * tf.sin(100 * logits_fn(images)), logits_fn
        )
    ) == {
        "square_beats_white_box",
        "single_step_beats_many",
        "more_steps_do_not_help",
        "transfer_beats_white_box",
    }


def test_on_a_network_that_does_not_nothing_is_found():
    assert _outcomes(tiny.trained("swish"), tiny.trained("relu")) == {}


def test_all_of_them_are_functions_by_the_names_of_their_checks():
    names = set(CHECKS) & set(vars(outcome_checks))
    assert names == {
        "square_beats_white_box",
        "single_step_beats_many",
        "more_steps_do_not_help",
        "transfer_beats_white_box",
        "robust_at_any_epsilon",
    }
