"""What a finished baseline teaches: its result for the record, thresholds, and a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from console.core.frozen import frozen, replace
from console.core.metrics.queue_metrics import tasks_ended
from console.core.metrics.statistics import mean_sigma, percentile
from console.core.model import Moment, Sample
from console.core.text.formatting import visible
from console.core.text.json_values import count, number, table

FLOOR = 70.0
"""A success rate under this is never normal, however it was learnt."""
NORMAL, WARNING = 5, 20
"""Waiting tasks: up to the first is normal, up to the second worth a warning, more is critical."""
HOUR_S = 3600.0
FEW = 3
"""Fewer values than this teach nothing about their spread."""


@frozen
class Thresholds:
    """What is normal on this box, as it was measured; None where too little was seen."""

    success_rate: float | None = None
    """Percent: the mean of the hours less two standard deviations, never under 70."""
    latency_s: float | None = None
    """The canaries' 95th percentile and two standard deviations."""
    queue_normal: int = NORMAL
    queue_warning: int = WARNING
    hours: int = 0
    canaries: int = 0


def learn(samples: Sequence[Sample], started: Moment) -> Thresholds:
    """Thresholds from a run's samples, oldest first, all of them within the run."""
    rates = _hourly_rates([one for one in samples if one.monitor == "queue"], started)
    ran = [one for one in samples if one.monitor == "canary" and one.data.get("ok") is True]
    known = [number(one.data.get("latency_s")) for one in ran]
    latencies = [one for one in known if one is not None]
    sizes = [count(one.data.get("size")) for one in samples if one.monitor == "queue"]
    usual = percentile([one for one in sizes if one is not None], 95)
    spread, high = mean_sigma(latencies), percentile(latencies, 95)
    rate = mean_sigma(rates)
    learnt = len(latencies) >= FEW and spread is not None and high is not None
    normal = max(NORMAL, int(usual or 0))
    return Thresholds(
        success_rate=round(max(FLOOR, rate[0] - 2 * rate[1]), 2) if rate else None,
        latency_s=round(high + 2 * spread[1], 4) if learnt and high and spread else None,
        queue_normal=normal,
        queue_warning=max(WARNING, 4 * normal),
        hours=len(rates),
        canaries=len(latencies),
    )


def _hourly_rates(queue: Sequence[Sample], started: Moment) -> list[float]:
    """The success rate of each hour in which tasks ended."""
    hours: dict[int, list[Sample]] = {}
    for one in queue:
        hour = int(one.moment.since(started) // HOUR_S)
        hours.setdefault(hour, []).append(one)
    rates = []
    for _, looks in sorted(hours.items()):
        good, ended = tasks_ended(looks)
        if ended:
            rates.append(100.0 * good / ended)
    return rates


def thresholds(document: object) -> Thresholds:
    """Thresholds from a document that anybody may have edited."""
    told = table(table(document).get("thresholds"))
    return Thresholds(
        success_rate=number(told.get("success_rate")),
        latency_s=number(told.get("latency_s")),
        queue_normal=count(told.get("queue_normal")) or NORMAL,
        queue_warning=count(told.get("queue_warning")) or WARNING,
        hours=count(told.get("hours")) or 0,
        canaries=count(told.get("canaries")) or 0,
    )


def wrong(document: object) -> list[str]:
    """The keys of such a document that say nothing that could count, with what they say."""
    told = table(document).get("thresholds")
    if not isinstance(told, dict):
        return ["thresholds: is missing"]
    kinds = {"success_rate": number, "latency_s": number, "queue_normal": count}
    kinds |= {"queue_warning": count}
    return [
        f"thresholds.{key} = {visible(repr(told[key]), 60)}"
        for key, kind in kinds.items()
        if key in told and kind(told[key]) is None
    ]


def in_force(
    learnt: Thresholds | None,
    success_rate: float | None = None,
    latency_s: float | None = None,
    queue_normal: int | None = None,
    queue_warning: int | None = None,
) -> Thresholds | None:
    """What was learnt, with what is configured instead; None where there is neither."""
    told = {
        "success_rate": success_rate,
        "latency_s": latency_s,
        "queue_normal": queue_normal,
        "queue_warning": queue_warning,
    }
    wanted: dict[str, Any] = {key: value for key, value in told.items() if value is not None}
    return replace(learnt or Thresholds(), **wanted) if wanted else learnt
