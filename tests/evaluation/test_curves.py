"""Curves from the results of evaluations, which are made up here."""

import numpy as np

from sat_tf import attacks
from sat_tf.evaluation import Outcome, Result
from sat_tf.evaluation import curves as curve_measurement


def result_of(names, examples=10, runs=None):
    """Attacks of which the first breaks one example, the second two, and so on; eight clean
    ones."""
    clean = np.arange(examples) >= 8
    broken = {name: np.arange(examples) < place + 1 for place, name in enumerate(names)}
    runs = np.ones(examples, np.int32) if runs is None else np.array(runs)

    def outcome(what):
        return Outcome(~clean, what, None, None, runs, 0.0)

    return Result(
        examples,
        {"clean": 8, **{name: 8 - int(what.sum()) for name, what in broken.items()}},
        {"clean": outcome(clean), **{n: outcome(what) for n, what in broken.items()}},
    )


def measured(kind, attack, **settings):
    created = []

    def create(name, epsilon):
        created.append((name, epsilon))
        return name

    rows = curve_measurement.measure(
        kind,
        attack=attack,
        create=create,
        epsilon=0.4,
        evaluate=settings.pop("evaluate", lambda named: result_of(list(named))),
        **settings,
    )
    assert all(row["clean_accuracy"] == 0.8 and row["examples"] == 10 for row in rows)
    assert {(row["curve"], row["attack"]) for row in rows} == {(kind, attack)}
    return created, [(row["x"], round(row["robust_accuracy"], 6)) for row in rows]


def test_against_epsilon():
    created, points = measured("epsilon", "apgd-ce", epsilons=(0.3, 0.1, 0.3))
    assert created == [("apgd-ce", 0.1), ("apgd-ce", 0.3)] and points == [(0.1, 0.7), (0.3, 0.6)]
    radii = [x for x, _ in measured("epsilon", "pgd-2")[1]]
    np.testing.assert_allclose(radii, [0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8])  # not 1.6


def test_against_steps_keeps_the_restarts():
    created, points = measured("steps", "pgd-20x2")
    assert created == [(f"pgd-{steps}x2", 0.4) for steps in curve_measurement.STEPS]
    assert [x for x, _ in points] == list(curve_measurement.STEPS)


def test_against_restarts_is_one_attack():
    broken_in = [1, 3, 3, 10, 6, 1, 1, 1, 1, 1]
    created, points = measured(
        "restarts", "pgd-5", evaluate=lambda named: result_of([*"abcd", *named], runs=broken_in)
    )
    assert created == [("pgd-5x10", 0.4)]
    # The fifth attack breaks five examples, in restarts 1, 3, 3, 10 and 6.
    assert points == [(1, 0.7), (2, 0.7), (3, 0.5), (5, 0.5), (10, 0.3)]


def test_an_ensemble_has_stages_of_its_own_at_each_radius():
    seen = {}
    curve_measurement.measure(
        "epsilon",
        attack="autoattack",
        epsilon=0.1,
        epsilons=(0.0, 0.1),
        norm="l2",
        create=lambda name, epsilon: attacks.create(
            name, epsilon=epsilon, norm="l2", version="pgd-2,square-5"
        ),
        evaluate=lambda named: seen.update(named) or result_of(list(named)),
    )
    assert [
        (stage, search.threat.epsilon)
        for ensemble in seen.values()
        for stage, search in ensemble.stages.items()
    ] == [
        ("pgd-2 at 0.0", 0.0),
        ("square-5 at 0.0", 0.0),
        ("pgd-2 at 0.1", 0.1),
        ("square-5 at 0.1", 0.1),
    ]


def test_an_l2_radius_may_be_wider_than_the_pixel_range():
    rows = curve_measurement.measure(
        "epsilon",
        attack="pgd-2",
        create=lambda name, epsilon: name,
        epsilon=1.5,
        norm="l2",
        evaluate=lambda named: result_of(list(named)),
    )
    assert max(row["x"] for row in rows) == 6.0
