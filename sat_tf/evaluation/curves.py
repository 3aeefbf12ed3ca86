"""Robust accuracy against epsilon, against the number of steps, against restarts.

    rows = measure("epsilon", attack="pgd-20", create=create, epsilon=8 / 255, evaluate=evaluate)

A curve says what one number cannot: an accuracy that does not fall to zero as epsilon grows, or
that goes on falling with more steps, was not measured well.
"""

import math
import re

from sat_tf import attacks

# Multiples of the evaluation's epsilon; steps; restarts.
EPSILON_SHARES = (0, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 4)
STEPS = (1, 2, 5, 10, 20, 50, 100)
RESTARTS = (1, 2, 3, 5, 10)


def measure(kind, *, attack, create, epsilon, evaluate, epsilons=None, norm="linf"):
    """Returns the rows of one curve, as `reports.curves.write_csv` takes them.

    Args:
      kind: a name of `reports.curves.CURVES`.
      attack: name of an attack; for "steps" and "restarts" a pgd-N.
      create: (name, epsilon=...) -> attack, as `attacks.create` with its other settings.
      epsilon: the evaluation's radius.
      evaluate: {name: attack} -> evaluation.Result.
      epsilons: those of the curve against epsilon; None means EPSILON_SHARES of `epsilon`, of which
        are left out those wider than the pixel range.
      norm: of the radii; only those of "linf" have such a limit.
    """

    def row(x, accuracy):
        return {
            "curve": kind,
            "attack": attack,
            "x": x,
            "robust_accuracy": accuracy,
            "clean_accuracy": result.clean_accuracy,
            "examples": result.examples,
        }

    points = _points(kind, attack, create, epsilon, epsilons, norm)
    result = evaluate({name: attack_there for name, _, attack_there in points})
    if kind == "restarts":
        name = points[0][0]
        return [row(restarts, result.accuracy_after(name, restarts)) for restarts in RESTARTS]
    return [row(x, result.robust_accuracy[name]) for name, x, _ in points]


def attacks_of(kind, *, attack, create, epsilon, epsilons=None, norm="linf") -> dict:
    """Returns {name: attack} of all that `measure` runs for a curve; arguments as there."""
    points = _points(kind, attack, create, epsilon, epsilons, norm)
    return {name: attack_there for name, _, attack_there in points}


def _points(kind, attack, create, epsilon, epsilons, norm):
    """Returns (name, x, attack) of each; against restarts, all are in the run of the most."""
    if kind == "epsilon":
        return _at_epsilons(attack, create, epsilon, epsilons, 1.0 if norm == "linf" else math.inf)
    if kind == "steps":
        return _at_steps(attack, create, epsilon)
    name = f"{attack.split('x')[0]}x{RESTARTS[-1]}"
    return [(name, RESTARTS[-1], create(name, epsilon=epsilon))]


def _at_epsilons(attack, create, epsilon, epsilons, widest):
    radii = epsilons or [share * epsilon for share in EPSILON_SHARES if share * epsilon <= widest]
    return [
        (
            f"{attack} at {radius!r}",
            radius,
            _labelled(create(attack, epsilon=radius), f" at {radius!r}"),
        )
        for radius in sorted(set(radii))
    ]


def _labelled(attack, label):
    """Returns the attack; the stages of an ensemble with names of their own at this radius."""
    if not isinstance(attack, attacks.Ensemble):
        return attack
    return attacks.Ensemble({name + label: search for name, search in attack.stages.items()})


def _at_steps(attack, create, epsilon):
    names = {steps: re.sub(r"^pgd-\d+", f"pgd-{steps}", attack) for steps in STEPS}
    return [(name, steps, create(name, epsilon=epsilon)) for steps, name in names.items()]
