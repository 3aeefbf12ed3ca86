"""Attacks by name, as evaluation asks for them.

    attack = create("pgd-20", epsilon=4 / 255)              # N steps; pgd-50x10 has 10 restarts
    adversarial = attack(logits_fn, images, labels, seed)   # float32 images in [0, 1]

An attack is a function of (logits_fn, images, labels, seed); see `pgd` for their shapes.  Those of
the table are `Search`es as well, or an `Ensemble` of them, which evaluation can stop and resume
example by example.
"""

import re

from sat_tf.attacks.draws import as_seed
from sat_tf.attacks.ensemble import Ensemble
from sat_tf.attacks.gradients import loss_gradient
from sat_tf.attacks.losses import class_indices, cross_entropy, kl_divergence
from sat_tf.attacks.pgd import (
    CRITERIA, Attack, LogitsFn, ascend, compiled_form, default_step_size, fgsm, pgd, pgd_search)
from sat_tf.attacks.search import COMPILED_FORMS, Search, judge
from sat_tf.attacks.threat import (
    NORMS, OutsideBall, ThreatModel, check_inside, images_within)

__all__ = ["ATTACKS", "Attack", "COMPILED_FORMS", "CRITERIA", "Ensemble", "LogitsFn", "NORMS", "OutsideBall",
           "Search", "ThreatModel", "as_seed", "ascend", "check_inside", "class_indices", "compiled_form", "create",
           "cross_entropy", "default_step_size", "fgsm", "images_within", "judge", "kl_divergence",
           "loss_gradient", "parse_names", "pgd", "pgd_search"]


def _no_attack(**settings):
    return None


def _fgsm(*, epsilon, step_size, **settings):  # its one step is epsilon, whatever --eval_step_size says
    return pgd_search(epsilon=epsilon, num_steps=1, step_size=epsilon, random_start=False, **settings)


def _pgd(*, num_steps, restarts=1, **settings):
    return pgd_search(num_steps=num_steps, restarts=restarts, **settings)


# A capital letter in a name stands for a positive integer, and what is in brackets may be left out.
ATTACKS = {
    "clean": _no_attack,
    "fgsm": _fgsm,
    "pgd-N[xR]": _pgd,
}
_COUNTS = {"N": "num_steps", "R": "restarts"}


def create(name, *, epsilon, step_size=None, norm="linf", robust_if="final", compiled="none",
           loss_scale=1.0):
    """Returns the evaluation attack called `name`, or None for "clean".

    Args:
      name: a name of ATTACKS, its capital letters replaced by positive integers.
      epsilon: radius, in [0, 1] pixel units.
      step_size: step of PGD, same units; None means `default_step_size`.
      norm: "linf" or "l2", of the ball.
      robust_if: which iterate of PGD an example has to survive; see `pgd_search`.
      compiled: one of COMPILED_FORMS.
      loss_scale: factor on the attack's loss, for float16 models.
    Raises: ValueError for an unknown name, listing the known ones.
    """
    factory, counts = _find(name)
    return factory(epsilon=epsilon, step_size=step_size, norm=norm, robust_if=robust_if,
                   compiled=compiled, loss_scale=loss_scale, **counts)


def parse_names(text):
    """Returns the attack names in a comma list such as "clean,pgd-20", in its order.

    Raises: ValueError for an unknown name, one given twice, and an empty list.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        _find(name)
        if names.count(name) > 1:
            raise ValueError(f"attack {name!r} is given twice")
    return names


def _find(name):
    for grammar, factory in ATTACKS.items():
        match = re.fullmatch(_pattern(grammar), name)
        if match:
            return factory, {_COUNTS[letter]: int(count)
                             for letter, count in match.groupdict().items() if count}
    raise ValueError(f"unknown attack {name!r}: allowed are {', '.join(ATTACKS)} "
                     "(N steps, R restarts; what is in brackets may be left out)")


def _pattern(grammar):
    optional = grammar.replace("[", "(?:").replace("]", ")?")
    return re.sub("([A-Z])", r"(?P<\1>[1-9][0-9]*)", optional)
