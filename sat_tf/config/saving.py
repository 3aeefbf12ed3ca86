"""When a run's state is saved.

SavingConfig("30min").interval          # Interval(steps=None, seconds=1800.0)
"""

import dataclasses
import re
from typing import NamedTuple

from sat_tf.config.ranges import refuse

_SECONDS = {"s": 1, "min": 60, "h": 3600}


class Interval(NamedTuple):
    """So many steps, or so many seconds; None for what it is not counted in."""

    steps: int | None
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class SavingConfig:
    """`every` is a number of steps, or a time such as 30min, 2h or 90s; 0 for no more."""

    every: str = dataclasses.field(default="0", metadata={"flag": "save_every", "defines": False})

    def __post_init__(self):
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
