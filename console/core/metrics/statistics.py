"""Small statistics: nearest-rank percentile, sample deviation, Wilson score interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the nearest-rank percentile, or None without values.

    It is the smallest value with at least `percent` percent of the values at or below it. The
    result is always one of the values, so callers show n beside it.
    """
    ranked = sorted(values)
    if not ranked:
        return None
    # Rounding lifts a product such as 0.07 * 100 above the integer: subtract the error.
    rank = math.ceil(percent / 100 * len(ranked) - 1e-9)
    return ranked[min(max(rank, 1), len(ranked)) - 1]


def counter_increase(values: Sequence[float]) -> float:
    """Return the total increase of a counter over its readings, oldest first.

    A fall means that the counter restarted from 0.
    """
    return counter_increases([(value,) for value in values])[0] if values else 0.0


def counter_increases(readings: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Return the total increase of each of one process's counters, readings oldest first.

    When one counter falls, all have restarted from 0.
    """
    if not readings:
        return ()
    totals = [0.0] * len(readings[0])
    for before, after in pairwise(readings):
        fell = any(new < old for old, new in zip(before, after, strict=True))
        for index, new in enumerate(after):
            totals[index] += new if fell else new - before[index]
    return tuple(totals)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the mean and the sample standard deviation, or None without values.

    The deviation divides by n - 1; it is 0 for one value.
    """
    n = len(values)
    if not n:
        return None
    # Rounding must not move the mean outside the range of the values.
    mean = min(max(math.fsum(value / n for value in values), min(values)), max(values))
    if n == 1:
        return mean, 0.0
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(n - 1)


def wilson_interval(successes: float, n: float, z: float = 1.96) -> tuple[float, float] | None:
    """Return Wilson's interval for a share of `n` trials as fractions of 1; None if `n` is 0.

    The default `z` gives 95 % confidence.
    """
    if n <= 0:
        return None
    share = successes / n
    weight = z * z / n
    centre = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share))
