"""When a run's state is saved.

SavingConfig("30min").interval          # Interval(steps=None, seconds=1800.0)
"""

import dataclasses
import re
from typing import NamedTuple

from sat_tf.config.fields import setting
from sat_tf.config.ranges import check_range, refuse

_SECONDS = {"s": 1, "min": 60, "h": 3600}


class Interval(NamedTuple):
    """So many steps, or so many seconds; None for what it is not counted in."""

    steps: int | None
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class SavingConfig:
    """`every` is a number of steps, or a time such as 30min, 2h or 90s; 0 for no more.

    `keep` is how many of the newest checkpoints stay.
    """

    every: str = setting("save_every", defines=False, default="0")
    keep: int = setting("keep_checkpoints", defines=False, default=2)

    def __post_init__(self):
        check_range("keep_checkpoints", self.keep, low=2)  # one may be damaged
        if self._match is None:
            refuse(
                "save_every",
                self.every,
                "give a number of steps, or a time such as 30min, 2h or 90s",
            )

    @property
    def _match(self):
        return re.fullmatch(r"(?a:(\d+)|(\d+(?:\.\d+)?)(s|min|h))", self.every)

    @property
    def is_on(self) -> bool:
        """Whether the state is saved within epochs."""
        return bool(self.interval.steps or self.interval.seconds)

    @property
    def interval(self) -> Interval:
        steps, time, unit = self._match.groups()
        if steps is not None:
            return Interval(int(steps), None)
        return Interval(None, float(time) * _SECONDS[unit])
