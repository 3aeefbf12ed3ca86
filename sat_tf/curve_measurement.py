"""Robust accuracy against epsilon, against the number of steps, against restarts.

    rows = measure("epsilon", attack="pgd-20", create=create, epsilon=8 / 255, evaluate=evaluate)

A curve says what one number cannot: an accuracy that does not fall to zero as epsilon grows, or that
goes on falling with more steps, was not measured well.
"""

import re

# Multiples of the evaluation's epsilon; steps; restarts.
EPSILON_SHARES = (0, 1 / 4, 1 / 2, 3 / 4, 1, 3 / 2, 2, 4)
STEPS = (1, 2, 5, 10, 20, 50, 100)
RESTARTS = (1, 2, 3, 5, 10)


def measure(kind, *, attack, create, epsilon, evaluate, epsilons=None):
    """Returns the rows of one curve, as `curves.write_csv` takes them.

    Args:
      kind: a name of `curves.CURVES`.
      attack: name of an attack; for "steps" and "restarts" a pgd-N.
      create: (name, epsilon=...) -> attack, as `attacks.create` with its other settings.
      epsilon: the evaluation's radius.
      evaluate: {name: attack} -> evaluation.Result.
      epsilons: those of the curve against epsilon; None means EPSILON_SHARES of `epsilon`, of which
        are left out those wider than the pixel range.
    """
    def row(x, accuracy):
        return {"curve": kind, "attack": attack, "x": x, "robust_accuracy": accuracy,
                "clean_accuracy": result.clean_accuracy, "examples": result.examples}

    if kind == "restarts":  # all of them are in the run of the most
        name = f"{attack.split('x')[0]}x{RESTARTS[-1]}"
        result = evaluate({name: create(name, epsilon=epsilon)})
        return [row(restarts, result.accuracy_after(name, restarts)) for restarts in RESTARTS]
    named = (_at_epsilons(attack, create, epsilon, epsilons) if kind == "epsilon"
             else _at_steps(attack, create, epsilon))
    result = evaluate({name: attack_there for name, _, attack_there in named})
    return [row(x, result.robust_accuracy[name]) for name, x, _ in named]


def _at_epsilons(attack, create, epsilon, epsilons):
    radii = epsilons or [share * epsilon for share in EPSILON_SHARES if share * epsilon <= 1]
    return [(f"{attack} at {radius:g}", radius, create(attack, epsilon=radius))
            for radius in sorted(set(radii))]


def _at_steps(attack, create, epsilon):
    names = {steps: re.sub(r"^pgd-\d+", f"pgd-{steps}", attack) for steps in STEPS}
    return [(name, steps, create(name, epsilon=epsilon)) for steps, name in names.items()]
