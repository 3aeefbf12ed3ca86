"""Means over seeds and how sure they are: sample standard deviations, paired differences,
t-intervals.

A number that is not there is None, and so is what cannot be said without it.
"""

import math
import statistics
from typing import NamedTuple

from scipy import stats


class Spread(NamedTuple):
    """Mean and sample standard deviation (n - 1, None for n = 1) of n numbers."""

    mean: float
    deviation: float | None
    n: int


class Difference(NamedTuple):
    """Mean of n paired differences, and the half width of its interval (None for n = 1)."""

    mean: float
    half_width: float | None
    n: int

    @property
    def excludes_zero(self) -> bool | None:
        """Whether 0 is outside the interval; None where there is no interval."""
        if self.half_width is None:
            return None
        return abs(self.mean) > self.half_width * (1 + 1e-9)  # beyond the rounding of the two


def spread(values) -> Spread | None:
    """Returns the Spread of the numbers that are there, or None if there are none."""
    there = [value for value in values if _is_number(value)]
    if not there:
        return None
    deviation = statistics.stdev(there) if len(there) > 1 else None
    return Spread(statistics.mean(there), deviation, len(there))


def difference(values, others, confidence=0.95, resolution=0.0) -> Difference | None:
    """Returns values - others, paired by key, with Student's t-interval; None for no pairs.

    The interval supposes differences that are about normal and independent from seed to seed, and
    is
    for one comparison: of twenty without any effect, one is expected to exclude 0.  Counts, such as
    accuracies, may agree from seed to seed by chance, hence the resolution.

    Args:
      values, others: dict seed -> number or None.
      confidence: of the interval, two-sided, in (0, 1).
      resolution: the numbers' smallest step, by which the interval is widened on either side.
    """
    paired = spread(
        value - others[seed]
        for seed, value in values.items()
        if _is_number(value) and _is_number(others.get(seed))
    )
    if paired is None:
        return None
    half_width = None
    if paired.n > 1:
        quantile = stats.t.ppf((1 + confidence) / 2, paired.n - 1)
        half_width = float(quantile) * paired.deviation / math.sqrt(paired.n) + resolution
    return Difference(paired.mean, half_width, paired.n)


def _is_number(value):
    return value is not None and math.isfinite(value)


def show_spread(column, measured, count) -> str:
    """Returns "mean ± deviation", the mean alone for one number, or a dash for none.

    With its own n, where that is not the row's `count`.
    """
    if measured is None:
        return column.show(None)
    deviation = "" if measured.deviation is None else f" ± {column.show(measured.deviation)}"
    return column.show(measured.mean) + deviation + _own_count(measured, count)


def show_difference(column, measured, count) -> str:
    """Returns "+mean [low, high]", bold where the interval excludes 0, or a dash for no pairs.

    With its own n, where that is not the row's `count`.
    """
    if measured is None:
        return column.show(None)

    def signed(value):
        return ("+" if value >= 0 else "−") + column.show(abs(value))

    text = signed(measured.mean)
    if measured.half_width is not None:
        low, high = (measured.mean + side * measured.half_width for side in (-1, 1))
        text += f" [{signed(low)}, {signed(high)}]"
    if measured.excludes_zero:
        text = f"**{text}**"
    return text + _own_count(measured, count)


def _own_count(measured, count):
    return "" if measured.n == count else f" (n = {measured.n})"
