"""What TensorBoard gets of a run beside its numbers.

RecordingConfig(profile="100,110").profiled          # (100, 110)
"""

import dataclasses
import re

from sat_tf.config.fields import setting
from sat_tf.config.ranges import check_range, refuse


@dataclasses.dataclass(frozen=True)
class RecordingConfig:
    """`histogram_every` steps, 0 for none; `profile` is "FIRST,LAST", steps, or "" for none."""

    histogram_every: int = setting(defines=False, default=0)
    profile: str = setting(defines=False, default="")

    def __post_init__(self):
        check_range("histogram_every", self.histogram_every, low=0)
        first, last = self.profiled or (1, 1)
        if not 1 <= first <= last:
            self._refuse()

    @property
    def profiled(self) -> tuple[int, int] | None:
        """The first and the last step that are profiled, counted from 1."""
        if not self.profile:
            return None
        match = re.fullmatch(r"(?a:(\d+),(\d+))", self.profile)
        if not match:
            self._refuse()
        return int(match[1]), int(match[2])

    def _refuse(self):
        refuse("profile", self.profile, "give the first and the last step, such as 100,110")
