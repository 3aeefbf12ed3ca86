"""Attacks by name: those evaluation asks for, and the one inside training.

    attack = create("pgd-20", epsilon=4 / 255)              # N steps; pgd-50x10 has 10 restarts
    adversarial = attack(logits_fn, images, labels, seed)   # float32 images in [0, 1]

An attack is a function of (logits_fn, images, labels, seed); see `pgd` for their shapes.
"""

import functools
import re

from sat_tf.attacks.losses import cross_entropy
from sat_tf.attacks.pgd import (
    COMPILED_FORMS, Attack, LogitsFn, compiled_form, default_step_size, fgsm, pgd)
from sat_tf.attacks.threat import ThreatModel

__all__ = ["ATTACKS", "Attack", "COMPILED_FORMS", "LogitsFn", "ThreatModel", "build",
           "compiled_form", "create", "cross_entropy", "default_step_size", "fgsm",
           "parse_names", "pgd"]


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


def create(name, *, epsilon, step_size=None, xla_form="none", loss_scale=1.0):
    """Returns the evaluation attack called `name`, or None for "clean".

    Args:
      name: a name of ATTACKS, its capital letters replaced by positive integers.
      epsilon: radius, in [0, 1] pixel units.
      step_size: step of the iterated attacks, same units; None means `default_step_size`.
      xla_form: one of COMPILED_FORMS.
      loss_scale: factor on the attack's loss, for float16 models.
    Raises: ValueError for an unknown name, listing the known ones.
    """
    factory, sizes = _find(name)
    return factory(*sizes, epsilon=epsilon, step_size=step_size, compiled=xla_form,
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


def build(attack_config, *, form="none", loss_scale=1.0, clip_start=False) -> Attack:
    """Returns the PGD attack that training uses, from a `sat_tf.config.AttackConfig`.

    Args:
      attack_config: epsilon, step_size, num_steps, random_start, clean_start_probability.
      form: one of COMPILED_FORMS; `compiled_form` chooses one for a device.
      loss_scale: factor on the attack's loss, for float16 models.
      clip_start: whether the noisy start is fitted to [0, 1], as in Fast AT.
    """
    return functools.partial(
        pgd, epsilon=attack_config.epsilon, step_size=attack_config.step_size,
        num_steps=attack_config.num_steps, random_start=attack_config.random_start,
        clean_start_probability=attack_config.clean_start_probability,
        clip_start=clip_start, loss_scale=loss_scale, compiled=form)


def _find(name):
    for grammar, factory in ATTACKS.items():
        match = re.fullmatch(re.sub("[A-Z]", "([1-9][0-9]*)", grammar), name)
        if match:
            return factory, match.groups()
    raise ValueError(f"unknown attack {name!r}: allowed are {', '.join(ATTACKS)} "
                     "(N steps, R restarts)")
