"""What both sides of a comparison are to do."""

import dataclasses

LINF_EPSILON, L2_EPSILON = 0.2, 1.0  # of the digits, in [0, 1] pixel units
_STARTS = {"pgd": 8, "apgd-ce": 4, "apgd-dlr": 3}  # where chance decides most
_STEP_SHARES = {"linf": 1 / 20, "l2": 1 / 10}  # of epsilon: PGD's steps, of which it makes 20


@dataclasses.dataclass(frozen=True)
class Setting:
    """One attack.

    Attributes:
      algorithm: a key of the ATTACKS of the modules here.
      epsilon: radius in [0, 1] pixel units.
      norm: "linf" or "l2".
      num_steps, step_size, random_start: of "pgd"; the others have those of AutoAttack, or none.
    """

    algorithm: str
    epsilon: float
    norm: str = "linf"
    num_steps: int | None = None
    step_size: float | None = None
    random_start: bool = True

    @property
    def starts(self) -> int:
        """How often each image is attacked, from different noise."""
        return _STARTS.get(self.algorithm, 1) if self.random_start else 1

    @property
    def name(self) -> str:
        """As tables have it."""
        steps = f"-{self.num_steps}" if self.num_steps else ""
        from_image = self.algorithm == "pgd" and not self.random_start
        return f"{self.algorithm}{steps}" + (", from the image" if from_image else "")


def settings(norm, epsilon, *, num_steps=20):
    """Returns the Settings of one norm: FGSM, PGD with and without random start, and AutoAttack's.

    "autoattack" comes last, after its stages.
    """
    pgd = Setting("pgd", epsilon, norm, num_steps, epsilon * _STEP_SHARES[norm])
    return [
        Setting("fgsm", epsilon, norm, random_start=False),
        dataclasses.replace(pgd, random_start=False),
        pgd,
        *(
            Setting(algorithm, epsilon, norm)
            for algorithm in ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "autoattack")
        ),
    ]
