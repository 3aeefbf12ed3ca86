"""Does what attacks achieved look as it does where they work?

    for finding in review(survives, clean_correct, threat=threat, losses=losses):
        print(f"warning: {finding.name}: {finding.text}")

Gradient attacks that work get better with more steps, better than any that see less of the network,
and break everything where nothing limits them.  Each check is a pure function of NumPy arrays and
returns a `Finding` or None.  `probes` makes attacks for them.
docs/evaluation.md explains each check by its name.
"""

import math
import re

import numpy as np

from sat_tf.attacks import default_step_size
from sat_tf.evaluation.checks.network import Finding

SQUARE_SHARE = 0.002  # of the examples that the gradient attacks left standing
ONE_POINT = 0.01  # of all examples
LOSS_SHARE = 0.05  # of the mean loss with more steps
UNBROKEN_SHARE = 0.1  # of the examples attacked without a limit
LEAST_CORRECT = 8  # for that share to mean anything
NOT_WHITE_BOX = ("clean", "autoattack")


def review_result(
    result, *, threat, step_size=None, robust_if="final", surrogates=(), black_box=()
):
    """Returns the findings of `review` on what an evaluation counted.

    Args:
      result: an `evaluation.Result`.
      threat, step_size: as for `review`.
      robust_if: of its PGD attacks; see `attacks.create`.
      surrogates: labels of the attacks made on other networks, as "transfer" in "pgd-20:transfer".
      black_box: names of attacks that follow no gradient; those of a square need not be among them.
    """
    survives = {
        name: what
        for name, what in result.survivors().items()
        if name not in black_box or _is_square(name)
    }
    endings = tuple(f":{label}" for label in surrogates)
    transferred = {name: survives.pop(name) for name in list(survives) if name.endswith(endings)}
    # Where PGD stops at the first misclassified iterate, a loss is that of barely crossing over.
    losses = {name: outcome.loss for name, outcome in result.outcomes.items()}
    return review(
        survives,
        ~result.outcomes["clean"].broken,
        threat=threat,
        step_size=step_size,
        losses=None if robust_if == "any_iterate" else losses,
        transferred=transferred,
    )


def first_of_each(findings) -> list:
    """Returns the first finding of each check."""
    by_check = {}
    for finding in findings:
        by_check.setdefault(finding.name, finding)
    return list(by_check.values())


def review(survives, clean_correct, *, threat, step_size=None, losses=None, transferred=None):
    """Returns the findings of all checks of outcomes, in the order of CHECKS.

    Attacks are known by their names in `sat_tf.attacks.ATTACKS`.  An attack that was given only the
    examples that others had left counts as not having attacked the rest: leave it out of
    `survives` unless it is a square, or let it have broken what the others had broken.

    Args:
      survives: {attack: bool [n]}, whether an example is still classified correctly.
      clean_correct: bool [n].
      threat: the ThreatModel; None where the attacks share none, so that nobody can tell how far
        their steps reach: one step is then compared with none of many.
      step_size: that of all PGD attacks; None means `default_step_size`.
      losses: {attack: float [n]}, the cross-entropy where the attack ended, of all that have one.
      transferred: {name: bool [n]}, like `survives`, for images made on other networks.
    """

    def crosses(name):
        if threat is None:
            return False
        steps = _steps(name)
        size = (
            default_step_size(threat.epsilon, steps, threat.bounds)
            if step_size is None
            else step_size
        )
        return steps * size >= (2 - 1e-6) * threat.epsilon

    found = [
        square_beats_white_box(survives, clean_correct),
        single_step_beats_many(survives, clean_correct),
        more_steps_do_not_help(losses or {}, clean_correct, crosses=crosses),
        transfer_beats_white_box(survives, transferred or {}, clean_correct),
    ]
    return [finding for finding in found if finding]


def square_beats_white_box(survives, clean_correct):
    """Whether Square broke more than 0.2 % of what every gradient attack left standing, and two."""
    white_box = _white_box(survives)
    squares = {name: what for name, what in survives.items() if _is_square(name)}
    if not squares or not white_box:
        return None
    standing = _worst_case(white_box, clean_correct)
    broken = int(np.count_nonzero(standing & ~_worst_case(squares, clean_correct)))
    if broken < 2 or broken <= SQUARE_SHARE * np.count_nonzero(standing):
        return None
    return Finding(
        "square_beats_white_box",
        (
            f"{', '.join(squares)} breaks {broken} of the {np.count_nonzero(standing)} examples "
            f"that "
            f"{', '.join(white_box)} left standing: gradients may be masked"
        ),
    )


def single_step_beats_many(survives, clean_correct, *, crosses=lambda name: True):
    """Whether FGSM or pgd-1 breaks over one point more than a PGD of many steps.

    `crosses(name)`: whether the steps of a PGD together are as long as the ball is wide.  From a
    random start it may else not get as far as one step from the image, however good its gradients.
    """
    leads = {}
    for single, many in _shorter_and_longer(survives, crosses):
        if _steps(single) == 1:
            left = [survives[name] & clean_correct for name in (single, many)]
            leads[single, many] = _lead(*left), *map(np.count_nonzero, left)
    single, many = max(leads, key=leads.get, default=(None, None))
    if single is None or not leads[single, many][0]:
        return None
    _, standing, longer = leads[single, many]
    return Finding(
        "single_step_beats_many",
        (
            f"{single} leaves {standing} of {len(clean_correct)} examples standing, {many} "
            f"{longer}: "
            "the longer attack fails, by masked gradients or steps of an unfit size"
        ),
    )


def more_steps_do_not_help(losses, clean_correct, *, crosses=lambda name: True):
    """Whether a shorter PGD ends at a higher mean loss than a longer one with as many restarts.

    Examples are compared with themselves; the difference counts beyond three standard errors and
    5 % of the loss.  `crosses` as for `single_step_beats_many`.
    """
    gaps = {}
    for short, long in _shorter_and_longer(losses, crosses):
        less, more = (np.asarray(losses[name], np.float64)[clean_correct] for name in (short, long))
        if _restarts(short) != _restarts(long) or len(less) < 2:
            continue
        noise = np.std(less - more, ddof=1) / math.sqrt(len(less))
        gap = np.mean(less) - np.mean(more)
        if gap > max(3 * noise, LOSS_SHARE * np.mean(more)):
            gaps[short, long] = gap, np.mean(less), np.mean(more), noise
    if not gaps:
        return None
    short, long = max(gaps, key=gaps.get)
    _, less, more, noise = gaps[short, long]
    return Finding(
        "more_steps_do_not_help",
        (
            f"{short} ends at a mean cross-entropy of {less:.4g}, {long} at {more:.4g} (standard "
            f"error "
            f"of the difference {noise:.2g}): more steps lead to a lower loss"
        ),
    )


def transfer_beats_white_box(survives, transferred, clean_correct):
    """Whether images made on another network break a point more than all gradient attacks here."""
    white_box = _white_box(survives)
    if not white_box:
        return None
    standing = _worst_case(white_box, clean_correct)
    leads = {
        name: _lead(arrived & clean_correct, standing) for name, arrived in transferred.items()
    }
    name = max(leads, key=leads.get, default=None)
    if name is None or not leads[name]:
        return None
    left = np.count_nonzero(transferred[name] & clean_correct)
    return Finding(
        "transfer_beats_white_box",
        (
            f"images of {name} leave {left} of {len(clean_correct)} examples standing, "
            f"{', '.join(white_box)} together {np.count_nonzero(standing)}: the gradients of this "
            "network lead to weaker images than those of another"
        ),
    )


def robust_at_any_epsilon(standing, clean_correct, *, attack):
    """Whether over a tenth of the correctly classified examples outlast an attack without a limit.

    Args:
      standing, clean_correct: bool [n].
      attack: what it was, in words.
    """
    correct = int(np.count_nonzero(clean_correct))
    left = int(np.count_nonzero(standing & clean_correct))
    if correct < LEAST_CORRECT or left <= UNBROKEN_SHARE * correct:
        return None
    return Finding(
        "robust_at_any_epsilon",
        (
            f"{left} of {correct} correctly classified examples ({left / correct:.0%}) outlast "
            f"{attack}, where any image is allowed: the attack fails, not the examples resist"
        ),
    )


def _shorter_and_longer(names, crosses):
    """Returns the pairs of FGSM and PGD attacks of which the second should be the stronger one."""
    return [
        (short, long)
        for short in names
        for long in names
        if 0 < _steps(short) < _steps(long) and (_steps(short) > 1 or crosses(long))
    ]


def _white_box(survives):
    return {
        name: what
        for name, what in survives.items()
        if name.split(":")[0] not in NOT_WHITE_BOX and not _is_square(name)
    }


def _is_square(name):
    return name.startswith("square")


def _worst_case(survives, clean_correct):
    return np.logical_and.reduce([clean_correct, *survives.values()])


def _lead(stronger, other):
    """Returns by how many examples an attack is ahead of another, or 0 if that may be chance.

    Ahead is what breaks over one point more of all examples, and more than twice the standard
    deviation that the examples on which the two differ would have if a coin decided them.

    Args:
      stronger, other: bool [n], what the attacks leave standing.
    """
    ahead, behind = (int(np.count_nonzero(what)) for what in (~stronger & other, stronger & ~other))
    lead = ahead - behind
    return lead if lead > max(ONE_POINT * len(other), 2 * math.sqrt(ahead + behind)) else 0


def _steps(name):
    """Returns the steps of an attack that is FGSM or PGD by the exact gradient, else 0."""
    if name == "fgsm":
        return 1
    match = re.fullmatch(r"pgd-(\d+)(?:x\d+)?", name)
    return int(match[1]) if match else 0


def _restarts(name):
    match = re.fullmatch(r"pgd-\d+x(\d+)", name)
    return int(match[1]) if match else 1
