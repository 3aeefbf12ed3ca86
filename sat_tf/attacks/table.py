"""The attacks by name: how each is made from the settings of an evaluation.

attack = create("pgd-50x5", epsilon=4 / 255)    # 50 steps, 5 restarts
register("mine", my_attack)                     # a row from outside
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from sat_tf.attacks.apgd import apgd_search
from sat_tf.attacks.ensemble import Ensemble
from sat_tf.attacks.fab import fab_search
from sat_tf.attacks.held import check_function, held_to, settings_of
from sat_tf.attacks.losses import cross_entropy, margin
from sat_tf.attacks.pgd import pgd_search
from sat_tf.attacks.search import Search
from sat_tf.attacks.square import square_search
from sat_tf.attacks.threat import ThreatModel
from sat_tf.errors import add, did_you_mean


class _Settings(NamedTuple):
    """What `create` was given beside the name."""

    epsilon: float
    step_size: float | None
    norm: str
    robust_if: str
    num_classes: int | None
    version: str
    compiled: str
    loss_scale: float
    bounds: tuple[float, float]
    targeted: bool

    @property
    def black_box(self):
        return dict(
            epsilon=self.epsilon, norm=self.norm, bounds=self.bounds, compiled=self.compiled
        )

    @property
    def white_box(self):
        return dict(loss_scale=self.loss_scale, **self.black_box)

    @property
    def aimed(self):
        return dict(targeted=self.targeted, **self.white_box)

    @property
    def num_targets(self):
        """Classes that AutoAttack's targeted attacks go through: nine, or all the others."""
        return 9 if self.num_classes is None else max(1, min(9, self.num_classes - 1))


def _no_attack(settings):
    return None


def _fgsm(settings):
    return pgd_search(num_steps=1, step_size=settings.epsilon, random_start=False, **settings.aimed)


def _pgd(loss):
    return lambda settings, **counts: pgd_search(
        step_size=settings.step_size,
        robust_if=settings.robust_if,
        loss=loss,
        **settings.aimed,
        **counts,
    )


def _apgd(loss):
    return lambda settings, **counts: apgd_search(
        loss, num_targets=settings.num_targets, **settings.aimed, **counts
    )


def _fab(targeted):
    return lambda settings, **counts: fab_search(
        targeted=targeted, num_targets=settings.num_targets, **settings.white_box, **counts
    )


def _square(settings, num_steps=5000, restarts=1):
    return square_search(num_queries=num_steps, restarts=restarts, **settings.black_box)


def _autoattack(settings):
    return Ensemble(
        {name: create(name, **settings._asdict()) for name in stage_names(settings.version)}
    )


# "cw" is PGD up the loss of Carlini and Wagner, 2017, https://arxiv.org/abs/1608.04644, the margin;
# not their own search, which minimises the size of a change.
# A capital letter in a name stands for a positive integer, and what is in brackets may be left out.
ATTACKS = {
    "clean": _no_attack,
    "fgsm": _fgsm,
    "pgd-N[xR]": _pgd(cross_entropy),
    "cw-N[xR]": _pgd(margin),
    "apgd-ce[-N][xR][-eotM]": _apgd("ce"),
    "apgd-dlr[-N][xR][-eotM]": _apgd("dlr"),
    "apgd-t[-N][xR][-eotM]": _apgd("dlr-targeted"),
    "fab[-N][xR]": _fab(False),
    "fab-t[-N][xR]": _fab(True),
    "square[-N][xR]": _square,
    "autoattack": _autoattack,
}
LETTERS = (
    "N steps or queries, R restarts, M passes for each gradient; what is in brackets may be "
    "left out"
)
_COUNTS = {"N": "num_steps", "R": "restarts", "M": "eot"}

_OWN = {}  # name of a row from outside -> whether it differentiates the network
_SETTINGS = ("step_size", "num_classes", "loss_scale", "compiled")  # beside the ThreatModel's

# What --autoattack_version names, in the order of the reference: Croce and Hein, 2020,
# https://arxiv.org/abs/2003.01690.  Without numbers an attack has those of "standard".
VERSIONS = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-cex5", "apgd-dlrx5", "fabx5", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce-eot20", "apgd-dlr-eot20"),
}


def create(
    name: str,
    *,
    epsilon: float,
    step_size: float | None = None,
    norm: str = "linf",
    robust_if: str = "final",
    num_classes: int | None = None,
    version: str = "standard",
    compiled: str = "none",
    loss_scale: float = 1.0,
    bounds: tuple[float, float] = (0.0, 1.0),
    targeted: bool = False,
) -> Search | Ensemble | None:
    """Returns the evaluation attack called `name`, or None for "clean".

    Args:
      name: a name of ATTACKS, its capital letters replaced by positive integers.
      epsilon: radius, in the units of `bounds`.
      step_size: step of PGD, "cw" included, same units; None means `default_step_size`.
      norm: "linf" or "l2", of the ball.
      robust_if: which iterate of PGD an example has to survive; see `pgd_search`.
      num_classes: of the network, where it is known; of fewer than ten no target is tried twice.
      version: what "autoattack" is: see `stage_names`.
      compiled: one of COMPILED_FORMS.
      loss_scale: factor on the attack's loss, for float16 models.
      bounds: lowest and highest valid pixel of the images that the network takes.
      targeted: whether labels are the classes to reach; for "fgsm", "pgd", "cw", "apgd-ce" and
        "apgd-dlr".  An evaluation takes attacks that are not.
    Returns: a Search, or an Ensemble of them.
    Raises: ValueError for an unknown name, listing the known ones, and for `targeted` with another
      attack.
    """
    factory, counts = _find(name)
    if targeted and (name in _OWN or not re.match("fgsm|pgd|cw|apgd-(ce|dlr)", name)):
        raise ValueError(
            f"targeted={targeted}: {name!r} has no form towards given classes; fgsm, pgd-N, cw-N, "
            "apgd-ce and apgd-dlr have"
        )
    return factory(
        _Settings(
            epsilon,
            step_size,
            norm,
            robust_if,
            num_classes,
            version,
            compiled,
            loss_scale,
            bounds,
            targeted,
        ),
        **counts,
    )


def register(name: str, attack: Callable, *, needs_gradient: bool = True) -> None:
    """Adds a row to ATTACKS, so that its name stands wherever those of our own do.

    Args:
      name: without capital letters, which stand for numbers in names of ATTACKS.
      attack: function (logits_fn, images, labels, seed int64 [batch, 2]) -> images of the same
        shape, as `pgd` with its settings bound.  It is given by keyword what it asks for by name
        of `epsilon`, `norm`, `bounds`, `step_size` (where one is set), `num_classes` (where it is
        known), `loss_scale` and `compiled`; see `create`.
      needs_gradient: whether it differentiates the network.
    Raises: ValueError for a name that is taken or no name, and for what is no such function.
    """
    if isinstance(attack, (Search, Ensemble)):
        raise ValueError(
            f"attack {name!r}: a {type(attack).__name__} has a radius of its own; give a function "
            "of (logits_fn, images, labels, seed, epsilon), as functools.partial(attacks.pgd, "
            "num_steps=20) is"
        )
    check_function(name, attack, _SETTINGS)
    if name != str(name).lower() or _is_taken(name):
        raise ValueError(
            f"attack {name!r}: names an attack that is there, or has capital letters, which stand "
            "for numbers: give yours another name"
        )
    add(ATTACKS, "attack", name, functools.partial(_made_of, name, attack))
    _OWN[name] = needs_gradient


def _made_of(name, attack, settings):
    given = {one: getattr(settings, one) for one in _SETTINGS if getattr(settings, one) is not None}
    asked = settings_of(attack)
    given = {one: value for one, value in given.items() if one in asked}
    threat = ThreatModel(settings.norm, epsilon=settings.epsilon, bounds=settings.bounds)
    return held_to(threat, name, functools.partial(attack, **given) if given else attack)


def stage_names(version: str) -> tuple[str, ...]:
    """Returns the attacks of a version of AutoAttack.

    Args:
      version: a name of VERSIONS, or a comma list of attacks.
    Raises: ValueError for a list with an unknown attack, with "clean" or with an ensemble.
    """
    if version in VERSIONS:
        return VERSIONS[version]
    try:
        names = parse_names(version)
    except ValueError as error:
        meant = did_you_mean(version, VERSIONS)
        raise ValueError(f"{error}; or name a version: {', '.join(VERSIONS)}{meant}") from error
    for name in names:
        if name in ("clean", "autoattack"):
            raise ValueError(f"{name!r} cannot be a part of it; leave it out")
    return names


def needs_gradient(name: str, version: str = "standard") -> bool:
    """Whether an attack differentiates the network; `version` is what "autoattack" is."""
    if name == "autoattack":
        return any(map(needs_gradient, stage_names(version)))
    return _OWN[name] if name in _OWN else not re.match("clean|square", name)


def is_of_autoattack(name: str) -> bool:
    """Whether an attack is AutoAttack, or one of the attacks that it is made of."""
    return name not in _OWN and re.match("autoattack|apgd|fab|square", name) is not None


def parse_names(text: str) -> tuple[str, ...]:
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
            return factory, {
                _COUNTS[letter]: int(count) for letter, count in match.groupdict().items() if count
            }
    meant = did_you_mean(re.sub(r"\d+", "N", name), [re.sub(r"\[.*", "", one) for one in ATTACKS])
    raise ValueError(
        f"unknown attack {name!r}: allowed are {', '.join(ATTACKS)} ({LETTERS}){meant}"
    )


def _is_taken(name):
    return any(re.fullmatch(_pattern(grammar), name) for grammar in ATTACKS)


def _pattern(grammar):
    if grammar in _OWN:
        return re.escape(grammar)
    optional = grammar.replace("[", "(?:").replace("]", ")?")
    return re.sub("([A-Z])", r"(?P<\1>[1-9][0-9]*)", optional)
