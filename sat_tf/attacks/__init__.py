"""Attacks by name, as evaluation asks for them.

    attack = create("pgd-20", epsilon=4 / 255)              # N steps; pgd-50x10 has 10 restarts
    adversarial = attack(logits_fn, images, labels, seed)   # float32 images in [0, 1]

An attack is a function of (logits_fn, images, labels, seed); see `pgd` for their shapes.
"""

import functools
import re

from sat_tf.attacks.losses import class_indices, cross_entropy, kl_divergence
from sat_tf.attacks.pgd import (
    COMPILED_FORMS, Attack, LogitsFn, as_seed, ascend, compiled_form, default_step_size, fgsm,
    loss_gradient, pgd)
from sat_tf.attacks.threat import ThreatModel, images_within

__all__ = ["ATTACKS", "Attack", "COMPILED_FORMS", "LogitsFn", "ThreatModel", "as_seed", "ascend",
           "class_indices", "compiled_form", "create", "cross_entropy", "default_step_size", "fgsm",
           "images_within", "kl_divergence", "loss_gradient", "parse_names", "pgd"]


def _no_attack(*, epsilon, step_size, **settings):
    return None


def _fgsm(*, step_size, **settings):  # its one step is epsilon, whatever --eval_step_size says
    return functools.partial(fgsm, **settings)


def _pgd(num_steps, restarts="1", **settings):
    return functools.partial(pgd, num_steps=int(num_steps), restarts=int(restarts), **settings)


# A capital letter in a name stands for a positive integer, handed to the factory in order.
ATTACKS = {
    "clean": _no_attack,
    "fgsm": _fgsm,
    "pgd-N": _pgd,
    "pgd-NxR": _pgd,
}


def create(name, *, epsilon, step_size=None, compiled="none", loss_scale=1.0):
    """Returns the evaluation attack called `name`, or None for "clean".

    Args:
      name: a name of ATTACKS, its capital letters replaced by positive integers.
      epsilon: radius, in [0, 1] pixel units.
      step_size: step of the iterated attacks, same units; None means `default_step_size`.
      compiled: one of COMPILED_FORMS.
      loss_scale: factor on the attack's loss, for float16 models.
    Raises: ValueError for an unknown name, listing the known ones.
    """
    factory, sizes = _find(name)
    return factory(*sizes, epsilon=epsilon, step_size=step_size, compiled=compiled,
                   loss_scale=loss_scale)


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
        match = re.fullmatch(re.sub("[A-Z]", "([1-9][0-9]*)", grammar), name)
        if match:
            return factory, match.groups()
    raise ValueError(f"unknown attack {name!r}: allowed are {', '.join(ATTACKS)} "
                     "(N steps, R restarts)")
