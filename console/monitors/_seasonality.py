"""What is usual at this hour of the day: the same hour of earlier days, rolled up. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from console.core.frozen import frozen
from console.core.metrics.rollups import Rollup, mean_sigma
from console.core.metrics.statistics import mean_sigma as spread
from console.core.model import Moment

LOOK_BACK_S = 28 * 86_400.0
DAYS = 5
"""Fewer earlier days than this make no season: the past day is all there is to compare with."""
EARLIER_S = 43_200.0
"""What is younger is today."""
FIELDS = {
    "latency_s": ("canary", "latency_s"),
    "queue_size": ("queue", "size"),
    "successful": ("queue", "successful"),
    "failed": ("queue", "failed"),
}
"""What is asked of the store: name -> (monitor, field)."""


@frozen
class Season:
    """Mean and deviation at this hour, and on how many earlier days it was seen."""

    mean: float
    sigma: float
    days: int


def seasons(hours: Mapping[str, Sequence[Rollup]], now: Moment) -> dict[str, Season]:
    """By channel, those that enough earlier days tell of. `hours`: by the names of `FIELDS`."""
    same = {name: _same_hour(found, now) for name, found in hours.items()}
    found = {}
    for name in ("latency_s", "queue_size"):
        known = mean_sigma(same.get(name, ()))
        if known and len(same[name]) >= DAYS:
            found[name] = Season(*known, len(same[name]))
    rates = _rates(same.get("successful", ()), same.get("failed", ()))
    known = spread(rates)
    if known and len(rates) >= DAYS:
        found["success_rate"] = Season(*known, len(rates))
    return found


def _same_hour(hours: Sequence[Rollup], now: Moment) -> list[Rollup]:
    """Local time: people and their working days make the seasons."""
    hour = datetime.fromtimestamp(now.at).hour
    early = [one for one in hours if now.at - one.at > EARLIER_S]
    return [one for one in early if datetime.fromtimestamp(one.at).hour == hour]


def _rates(successful: Sequence[Rollup], failed: Sequence[Rollup]) -> list[float]:
    """Percent that succeeded, for each hour in which any task ended."""
    bad = {one.at: one.sum for one in failed}
    ended = [(one.sum, one.sum + bad.get(one.at, 0.0)) for one in successful]
    return [100.0 * good / both for good, both in ended if both]
