"""What attacks are asked for, by names or as they are, and the one ball that holds them."""

import functools

import greys
import numpy as np
import pytest
import tensorflow as tf

from sat_tf import attacks
from sat_tf.errors import NotTrustworthy, UserError
from sat_tf.evaluation import Evaluator
from sat_tf.evaluation.asked import parse, threat_of

FGSM = attacks.create("fgsm", epsilon=0.1)
PGD = functools.partial(attacks.pgd, epsilon=0.1, num_steps=2)


def mine(logits_fn, images, labels, seed):
    return images


class Mine:
    def __call__(self, logits_fn, images, labels, seed):
        return images


UNNAMED = lambda logits_fn, images, labels, seed: images
OWN = Mine()


@pytest.mark.parametrize(
    "asked, expected",
    [
        ("autoattack", {"autoattack": "autoattack"}),
        ("clean, pgd-20,square", {"clean": "clean", "pgd-20": "pgd-20", "square": "square"}),
        (["pgd-20,square", mine], {"pgd-20": "pgd-20", "square": "square", "mine": mine}),
        (("fgsm", PGD), {"fgsm": "fgsm", "pgd": PGD}),
        (FGSM, {"search": FGSM}),
        (UNNAMED, {"attack": UNNAMED}),
        (OWN, {"mine": OWN}),
        ({"one": "pgd-1", "own": mine, "made": FGSM}, {"one": "pgd-1", "own": mine, "made": FGSM}),
    ],
)
def test_names_attacks_lists_and_dicts(asked, expected):
    assert parse(asked) == expected and list(parse(asked)) == list(expected)


@pytest.mark.parametrize(
    "asked, message",
    [
        ("pdg-20", "unknown attack 'pdg-20': allowed are clean, fgsm"),
        ("pgd-20,pgd-20", "attack 'pgd-20' is given twice"),
        (["pgd-20", "pgd-20"], "attacks: two are called 'pgd-20'; give a dict"),
        ([FGSM, FGSM], "attacks: two are called 'search'; give a dict"),
        ([], r"attacks=\[\]: name at least one"),
        ({}, r"attacks=\{\}: name at least one"),
        ({"both": "fgsm,square"}, "'both' is 'fgsm,square'; give each of them a name"),
        (20, "attacks: 20 is no attack; give a name, such as 'pgd-20'"),
        ({"none": None}, "attacks: None is no attack"),
        (attacks.pgd, "'pgd' cannot be called .*missing a required .*: 'num_steps'; bind"),
        (lambda images: images, "'attack' cannot be called as attack.logits_fn, images, labels"),
    ],
)
def test_what_is_no_attack_is_refused(asked, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(asked)
    assert "\n" not in str(caught.value)


def test_the_ball_is_that_of_epsilon_or_that_which_the_searches_share():
    linf = attacks.ThreatModel(epsilon=0.1)
    assert threat_of(parse("fgsm"), epsilon=0.1) == linf
    assert threat_of(parse("fgsm"), epsilon=3, norm="l2") == attacks.ThreatModel("l2", epsilon=3)
    assert threat_of(parse([FGSM, "pgd-2"]), epsilon=0.1) == linf
    assert threat_of(parse(mine), epsilon=0.1) == linf
    assert threat_of(parse({"a": FGSM, "b": attacks.Ensemble({"c": FGSM})}), epsilon=None) == linf
    for shared_by_none in ("clean", mine, [FGSM, mine], {"a": FGSM, "b": _at(0.2)}):
        assert threat_of(parse(shared_by_none), epsilon=None) is None


def _at(epsilon):
    return attacks.create("fgsm", epsilon=epsilon)


@pytest.mark.parametrize(
    "asked, settings, message",
    [
        ("clean,pgd-20", {}, "epsilon: 'pgd-20' needs a radius, .* as epsilon=8/255"),
        ({"mine": "fgsm"}, {}, "epsilon: 'mine' needs a radius"),
        ("fgsm", {"epsilon": 4}, r"epsilon=4: wider than .* \[0, 1\].* epsilon=4/255"),
        (
            "fgsm",
            {"epsilon": 4, "bounds": (-1.0, 1.0)},
            "epsilon=4: .* 4 of 255 grey levels are epsilon=8/255",
        ),
        ("fgsm", {"epsilon": 400}, "epsilon=400: give a number from 0 to 1"),
        ("fgsm", {"epsilon": -0.1}, "epsilon=-0.1: give a number from 0 to 1"),
        ("fgsm", {"epsilon": np.nan}, "epsilon=nan: give a number"),
        ("fgsm", {"epsilon": "8/255"}, "epsilon='8/255': give a number, as epsilon=8/255"),
        ("fgsm", {"epsilon": True}, "epsilon=True: give a number"),
        ("fgsm", {"epsilon": 0.1, "norm": "l1"}, "norm='l1': known norms are linf, l2"),
        ("clean", {"bounds": (1.0, 0.0)}, r"bounds=\(1.0, 0.0\): give \(low, high\)"),
        (FGSM, {"epsilon": 0.2}, "epsilon=0.2: the attack 'search' was made for ThreatModel"),
        (FGSM, {"epsilon": 0.1, "norm": "l2"}, "epsilon=0.1: the attack 'search' was made for"),
    ],
)
def test_radii_that_would_mislead_are_refused(asked, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        threat_of(parse(asked), **{"epsilon": None, **settings})
    assert "\n" not in str(caught.value)


def _evaluate(attack, threat):
    named = {"mine": attacks.held_to(threat, "mine", attack)}
    return Evaluator(greys.threshold, named, seed=0)(greys.padded_batches()).correct["mine"]


def _moved(by):
    return lambda logits_fn, images, labels, seed: images + by


@pytest.mark.smoke
def test_functions_are_held_to_the_ball_and_to_the_pixels():
    inside = lambda *arguments: tf.clip_by_value(_moved(0.06)(*arguments), 0.0, 1.0)
    assert _evaluate(inside, attacks.ThreatModel(epsilon=0.1)) == greys.CLEAN - 1  # 0.45 is above
    with pytest.raises(NotTrustworthy, match="outside ball: .* by more than epsilon=0.05"):
        _evaluate(inside, attacks.ThreatModel(epsilon=0.05))
    with pytest.raises(NotTrustworthy, match=r"outside ball: .* with pixels outside \[0, 1\]"):
        _evaluate(_moved(0.06), attacks.ThreatModel(epsilon=1.0))


@pytest.mark.parametrize(
    "attack, message",
    [
        (lambda *unused: None, "'mine' returned None; return images"),
        (lambda logits_fn, images, labels, seed: labels, "'mine' returned int32 .* for images"),
        (lambda logits_fn, images, labels, seed: images[:, :1], r"returned float32 \(4, 1, 2, 3\)"),
    ],
)
def test_functions_that_return_no_images_are_refused(attack, message):
    with pytest.raises(UserError, match=message):
        _evaluate(attack, None)


def test_images_of_double_precision_are_taken():
    double = lambda logits_fn, images, labels, seed: tf.cast(images, tf.float64)
    assert _evaluate(double, attacks.ThreatModel(epsilon=0.0)) == greys.CLEAN
