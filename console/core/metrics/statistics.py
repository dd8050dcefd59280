"""Small statistics that say what they are: nearest rank, sample deviation, Wilson's interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise


def percentile(values: Iterable[float], share: float) -> float | None:
    """The nearest-rank percentile: the smallest value with at least `share` percent at or below.

    It is always one of the values, so n is what the caller shows beside it. None without values.
    """
    ranked = sorted(values)
    if not ranked:
        return None
    # A product such as 0.07 * 100 lies a hair above its whole number: that is no higher rank.
    rank = math.ceil(share / 100 * len(ranked) - 1e-9)
    return ranked[min(max(rank, 1), len(ranked)) - 1]


def increase(values: Sequence[float]) -> float:
    """How far a counter rose over its readings, oldest first; a fall means it restarted from 0."""
    return increases([(value,) for value in values])[0] if values else 0.0


def increases(readings: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """How far each of one process's counters rose: when one of them falls, all restarted from 0."""
    if not readings:
        return ()
    totals = [0.0] * len(readings[0])
    for before, after in pairwise(readings):
        fell = any(new < old for old, new in zip(before, after, strict=True))
        for index, new in enumerate(after):
            totals[index] += new if fell else new - before[index]
    return tuple(totals)


def mean_sigma(values: Sequence[float]) -> tuple[float, float] | None:
    """The mean and the sample standard deviation (n - 1; 0 for one value). None without values."""
    n = len(values)
    if not n:
        return None
    # A mean cannot lie outside its values: rounding must not put it there.
    mean = min(max(math.fsum(value / n for value in values), min(values)), max(values))
    if n == 1:
        return mean, 0.0
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(n - 1)


def wilson(successes: float, n: float, z: float = 1.96) -> tuple[float, float] | None:
    """Wilson's interval for a share of `n` trials, as fractions of 1 (95 % for the given `z`)."""
    if n <= 0:
        return None
    share = successes / n
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share))
