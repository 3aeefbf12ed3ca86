"""The attacks of an evaluation by name, with one set of settings, and their variants.

    suite = Suite(epsilon=8 / 255, num_classes=10)
    named = suite.named(["clean", "pgd-20", "square"], surrogates={"transfer": other_logits_fn})
    list(named)                 # clean, pgd-20, square, pgd-20:transfer, square:transfer
    result = Evaluator(logits_fn, named, seed=0)(batches)

A variant is an attack that sees another function in the network's place: one that gives the same
logits with another gradient, or another network.
"""

from collections.abc import Iterable

from sat_tf import attacks


class Suite:
    """Makes attacks by name, all with the settings given here.

    Args:
      epsilon: radius of the ball, in [0, 1] pixel units for linf.
      norm, step_size, robust_if, num_classes, version, compiled, loss_scale: see `attacks.create`.
    """

    def __init__(
        self, *, epsilon: float, norm: str = "linf", version: str = "standard", **settings
    ):
        self._settings = dict(epsilon=epsilon, norm=norm, version=version, **settings)

    def create(self, name: str, **changed) -> attacks.Search | attacks.Ensemble | None:
        """Returns one attack; `changed` are other values of the settings."""
        return attacks.create(name, **{**self._settings, **changed})

    def named(
        self,
        names: Iterable[str],
        *,
        derivatives: dict | None = None,
        surrogates: dict | None = None,
    ) -> dict:
        """Returns {name: attack}, None for "clean", with the variants after those they are of.

        Args:
          names: as in `attacks.parse_names`.
          derivatives: {label: logits_fn -> logits_fn of another gradient}; attacks without need of
            a gradient have no such variant.
          surrogates: {label: another network's logits_fn}.
        """
        named = {name: self.create(name) for name in names}
        followers = {name: named[name] for name in names if self.need_gradient([name])}
        found = dict(named)
        for label, transform in (derivatives or {}).items():
            found.update(_each(followers, label, transform))
        for label, other in (surrogates or {}).items():
            found.update(_each(named, label, lambda logits_fn, other=other: other))
        return found

    def need_gradient(self, names: Iterable[str]) -> bool:
        """Whether one of the attacks differentiates the network."""
        return any(attacks.needs_gradient(name, self._settings["version"]) for name in names)

    @property
    def threat(self) -> attacks.ThreatModel:
        """The ball that the attacks stay in."""
        return attacks.ThreatModel(self._settings["norm"], epsilon=self._settings["epsilon"])


def _each(by_name, label, transform):
    """Returns {name:label: the attack that sees each logits_fn as transform(logits_fn)}."""
    return {
        f"{name}:{label}": _through(attack, label, transform)
        for name, attack in by_name.items()
        if attack is not None
    }


def _through(attack, label, transform):
    if not isinstance(attack, attacks.Ensemble):
        return attack.through(transform)
    return attacks.Ensemble(
        {f"{name}:{label}": search.through(transform) for name, search in attack.stages.items()}
    )
