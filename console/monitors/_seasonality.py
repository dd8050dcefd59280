"""Computes what is usual at this hour of the day, from rollups of earlier days. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from console.core.metrics.rollups import Rollup, mean_and_deviation
from console.core.metrics.statistics import mean_and_deviation as spread
from console.core.model.time import Moment
from console.core.records import Record

LOOK_BACK_S = 28 * 86_400.0
MIN_DAYS = 5
"""Minimum number of earlier days of a season; with fewer, the past day is used."""
MIN_AGE_S = 43_200.0
"""Younger rollups belong to today."""
FIELDS_BY_NAME = {
    "latency_s": ("canary", "latency_s"),
    "queue_size": ("queue", "size"),
    "successful": ("queue", "successful"),
    "failed": ("queue", "failed"),
}
"""Name -> (monitor, field) of the rollups that are read from the store."""


class Season(Record, frozen=True):
    """Mean and deviation at this hour of the day, and the number of earlier days behind them."""

    mean: float
    sigma: float
    days: int


def compute_seasons(rollups: Mapping[str, Sequence[Rollup]], now: Moment) -> dict[str, Season]:
    """Return the seasons of those channels that have enough earlier days.

    `rollups` is keyed by the names of `FIELDS_BY_NAME`.
    """
    rollups_of_hour = {name: _select_same_hour(found, now) for name, found in rollups.items()}
    found = {}
    for name in ("latency_s", "queue_size"):
        statistics = mean_and_deviation(rollups_of_hour.get(name, ()))
        if statistics and len(rollups_of_hour[name]) >= MIN_DAYS:
            found[name] = Season(*statistics, len(rollups_of_hour[name]))
    rates = _success_rates(rollups_of_hour.get("successful", ()), rollups_of_hour.get("failed", ()))
    statistics = spread(rates)
    if statistics and len(rates) >= MIN_DAYS:
        found["success_rate"] = Season(*statistics, len(rates))
    return found


def _select_same_hour(rollups: Sequence[Rollup], now: Moment) -> list[Rollup]:
    """Return the rollups of this hour of earlier days.

    Hours are local time: people and their working days cause the seasons.
    """
    hour = datetime.fromtimestamp(now.at).hour
    earlier = [rollup for rollup in rollups if now.at - rollup.at > MIN_AGE_S]
    return [rollup for rollup in earlier if datetime.fromtimestamp(rollup.at).hour == hour]


def _success_rates(successful: Sequence[Rollup], failed: Sequence[Rollup]) -> list[float]:
    """Return the percentage of successful tasks for each hour in which a task ended."""
    failed_by_time = {rollup.at: rollup.sum for rollup in failed}
    ended = [(rollup.sum, rollup.sum + failed_by_time.get(rollup.at, 0.0)) for rollup in successful]
    return [100.0 * succeeded / total for succeeded, total in ended if total]
