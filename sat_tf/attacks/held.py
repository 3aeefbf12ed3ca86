"""Any function that attacks, as a Search.

search = held_to(ThreatModel(epsilon=8 / 255), "mine", my_attack)    # refused outside the ball

Such a function is of (logits_fn, images, labels, seed), and is given by keyword the settings that
it asks for by their names: `epsilon`, `norm` and `bounds`, those of the ThreatModel.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from sat_tf.attacks.search import Search
from sat_tf.attacks.threat import ThreatModel
from sat_tf.errors import UserError

_GIVEN = ("logits_fn", "images", "labels", "seed")
_OF_THREAT = ("epsilon", "norm", "bounds")


def check_function(name: str, attack: Any, settings: Iterable[str] = ()) -> None:
    """Raises UserError for what cannot be called as an attack.

    Args:
      name: of the attack, for the message.
      attack: anything.
      settings: names of what it may be given besides those of the ThreatModel.
    """
    if not callable(attack):
        raise UserError(
            f"attacks: {attack!r} is no attack; give a name, such as 'pgd-20', or a function of "
            "(logits_fn, images, labels, seed)"
        )
    if isinstance(attack, functools.partial) and attack.keywords.get("targeted"):
        raise UserError(
            f"attacks: {name!r} is targeted, towards the classes that its labels name: here these "
            "are the true ones; leave out targeted=True"
        )
    try:
        signature = inspect.signature(attack)
    except ValueError:  # of a function that is not written in Python, which has none to look at
        return
    asked = settings_of(attack) & {*_OF_THREAT, *settings}
    try:
        signature.bind(*_GIVEN, **dict.fromkeys(asked))
    except TypeError as error:
        raise UserError(
            f"attacks: {name!r} cannot be called as attack(logits_fn, images, labels, seed): "
            f"{error}; bind its settings first, by functools.partial"
        ) from error


def settings_of(attack) -> set:
    """Returns the names of what a function takes by keyword, besides the four and what is bound."""
    try:
        parameters = inspect.signature(attack).parameters.values()
    except ValueError:
        return set()
    by_keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = {one.name for one in parameters if one.kind in by_keyword}
    bound = attack.keywords if isinstance(attack, functools.partial) else ()
    return names - set(_GIVEN) - set(bound)


def needs_epsilon(attack: Callable) -> bool:
    """Whether a function cannot be called without an `epsilon`."""
    return "epsilon" in settings_of(attack) and (
        inspect.signature(attack).parameters["epsilon"].default is inspect.Parameter.empty
    )


def held_to(
    threat: ThreatModel | None, name: str, attack: Callable, *, told: bool = True
) -> Search:
    """Returns any function that attacks as a Search, the results of which `threat` limits.

    Args:
      threat: the ThreatModel; None for no limit.
      name: of the attack, for messages.
      attack: (logits_fn, images, labels, seed [batch, 2], **settings) -> floating, the shape of
        images.
      told: whether it is given the settings of `threat` that it asks for.
    Raises: UserError when it is traced, for results that are not such images.
    """
    asked = settings_of(attack) if threat and told else ()
    settings = {one: getattr(threat, one) for one in _OF_THREAT if one in asked}

    def begin(logits_fn, images, labels, seed, run):
        found = attack(logits_fn, images, labels, seed, **settings)
        try:
            found = tf.convert_to_tensor(found)
        except (TypeError, ValueError) as error:
            raise UserError(f"attacks: {name!r} returned {found!r}; return images") from error
        if not found.dtype.is_floating or not found.shape.is_compatible_with(images.shape):
            raise UserError(
                f"attacks: {name!r} returned {found.dtype.name} {found.shape} for images "
                f"{images.shape}; return floating images of that shape"
            )
        return {"adversarial": tf.ensure_shape(tf.cast(found, tf.float32), images.shape)}

    return Search(begin, step=None, num_steps=0, threat=threat)
