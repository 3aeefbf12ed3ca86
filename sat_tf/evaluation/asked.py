"""What `evaluate` is asked to attack with: names, attacks, lists and dicts of both.

asked = parse("pgd-20,square")                         # {"pgd-20": "pgd-20", ...}
threat = threat_of(asked, epsilon=8 / 255)             # one for all, or None
"""

import functools
import math
import numbers

from sat_tf import attacks
from sat_tf.errors import UserError


def parse(asked) -> dict:
    """Returns the attacks that somebody asks for, by name, in their order.

    Args:
      asked: a name as `attacks.create` has them, a comma list of names, an attack (a Search, an
        Ensemble or any function of logits_fn, images, labels, seed), a list of these, or a dict of
        name -> name or attack.
    Returns: {name: a name of `attacks.ATTACKS`, or an attack}.
    Raises: ValueError for an unknown name, none at all, two attacks of one name, and what is no
      attack.
    """
    if isinstance(asked, dict):
        pairs = [pair for name, one in asked.items() for pair in _called(name, one)]
    else:
        listed = asked if isinstance(asked, (list, tuple)) else [asked]
        pairs = [pair for one in listed for pair in _called(None, one)]
    if not pairs:
        raise UserError(f"attacks={asked!r}: name at least one, or 'clean' for none")
    found = {}
    for name, attack in pairs:
        if name in found:
            raise UserError(
                f"attacks: two are called {name!r}; give a dict with a name for each of them"
            )
        found[name] = attack
    return found


def _called(name, attack):
    """Returns [(name, attack)] of what stands in a list, or under a name in a dict."""
    if isinstance(attack, str):
        names = attacks.parse_names(attack)
        if name is None:
            return [(one, one) for one in names]
        if len(names) > 1:
            raise UserError(f"attacks: {name!r} is {attack!r}; give each of them a name of its own")
        return [(name, names[0])]
    called = name or _own_name(attack)
    attacks.check_function(called, attack)
    return [(called, attack)]


def _own_name(attack):
    function = attack.func if isinstance(attack, functools.partial) else attack
    name = getattr(function, "__name__", type(attack).__name__.lower())
    return "attack" if name == "<lambda>" else name


def threat_of(asked, *, epsilon, norm="linf", bounds=(0.0, 1.0)):
    """Returns the ThreatModel that all of the attacks are held to, or None where they share none.

    Args:
      asked: what `parse` returns.
      epsilon: radius, or None where no attack is made by its name; then it is that of the Searches.
      norm, bounds: see `attacks.ThreatModel`.
    Raises: ValueError for an epsilon that is missing or out of range, for an unknown norm, and for
      a Search of another ThreatModel.
    """
    made = [name for name, attack in asked.items() if _needs_radius(attack)]
    if epsilon is None and made:
        raise UserError(
            f"epsilon: {made[0]!r} needs a radius, in the units of the pixels; give one, as "
            "epsilon=8/255"
        )
    threats = {
        (name, threat)
        for name, attack in asked.items()
        if not isinstance(attack, str)
        for threat in _threats(attack)
    }
    if epsilon is None:
        whole(bounds)
        shared = {threat for _, threat in threats}
        return shared.pop() if len(shared) == 1 else None
    _check_epsilon(epsilon, norm, bounds)
    asked_for = attacks.ThreatModel(norm, epsilon=epsilon, bounds=bounds)
    for name, threat in threats:
        if threat is not None and not _same(threat, asked_for):
            raise UserError(
                f"epsilon={epsilon:g}: the attack {name!r} was made for {threat}; make it for the "
                "same radius, norm and bounds, or leave epsilon out"
            )
    return asked_for


def _needs_radius(attack):
    if isinstance(attack, str):
        return attack != "clean"
    made = isinstance(attack, (attacks.Search, attacks.Ensemble))
    return not made and attacks.needs_epsilon(attack)


def whole(bounds):
    """Returns the ThreatModel of attacks that may make any image within `bounds`."""
    low, high = bounds
    return attacks.ThreatModel(epsilon=high - low, bounds=bounds)


def _threats(attack):
    searches = attack.stages.values() if isinstance(attack, attacks.Ensemble) else [attack]
    return [getattr(search, "threat", None) for search in searches]


def _same(threat, other):
    return (threat.norm, threat.bounds) == (other.norm, other.bounds) and math.isclose(
        threat.epsilon, other.epsilon, rel_tol=1e-6
    )


def _check_epsilon(epsilon, norm, bounds):
    if not isinstance(epsilon, numbers.Real) or isinstance(epsilon, bool):
        raise UserError(f"epsilon={epsilon!r}: give a number, as epsilon=8/255")
    low, high = bounds
    width = high - low
    if norm == "linf" and width < epsilon <= 255 * width:
        grey_levels = f"{epsilon:g} of 255 grey levels are epsilon={epsilon * width:g}/255"
        raise UserError(
            f"epsilon={epsilon:g}: wider than the range of the pixels, [{low:g}, {high:g}]; give "
            f"it in their units: {grey_levels}"
        )
