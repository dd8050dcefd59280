"""Learns thresholds from the samples of a finished baseline run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from console.core.metrics.queue_metrics import count_ended_tasks
from console.core.metrics.statistics import mean_and_deviation, percentile
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record, replace
from console.core.text.formatting import sanitize_text
from console.core.text.json_values import as_count, as_number, as_object

MIN_SUCCESS_RATE = 70.0
"""A lower success rate is never normal, even if it was learnt."""
DEFAULT_QUEUE_NORMAL, DEFAULT_QUEUE_WARNING = 5, 20
"""Numbers of waiting tasks: up to the first is normal, up to the second is a warning, more is
critical."""
HOUR_S = 3600.0
MIN_LATENCIES = 3
"""Minimum number of values from which their spread is learnt."""


class Thresholds(Record, frozen=True):
    """The normal values on this box, as measured; None if there were too few samples."""

    success_rate: float | None = None
    """Percent: the mean of the hourly rates minus two standard deviations, at least 70."""
    latency_s: float | None = None
    """The canaries' 95th percentile plus two standard deviations."""
    queue_normal: int = DEFAULT_QUEUE_NORMAL
    queue_warning: int = DEFAULT_QUEUE_WARNING
    hours: int = 0
    canaries: int = 0


def learn_thresholds(samples: Sequence[Sample], started: Moment) -> Thresholds:
    """Return thresholds from the samples of a run, oldest first.

    All samples must lie within the run.
    """
    rates = _hourly_rates([one for one in samples if one.monitor == "queue"], started)
    canaries = [one for one in samples if one.monitor == "canary" and one.data.get("ok") is True]
    values = [as_number(one.data.get("latency_s")) for one in canaries]
    latencies = [one for one in values if one is not None]
    sizes = [as_count(one.data.get("size")) for one in samples if one.monitor == "queue"]
    usual_size = percentile([one for one in sizes if one is not None], 95)
    latency_stats, p95 = mean_and_deviation(latencies), percentile(latencies, 95)
    rate_stats = mean_and_deviation(rates)
    enough_latencies = (
        len(latencies) >= MIN_LATENCIES and latency_stats is not None and p95 is not None
    )
    normal = max(DEFAULT_QUEUE_NORMAL, int(usual_size or 0))
    return Thresholds(
        success_rate=round(max(MIN_SUCCESS_RATE, rate_stats[0] - 2 * rate_stats[1]), 2)
        if rate_stats
        else None,
        latency_s=round(p95 + 2 * latency_stats[1], 4)
        if enough_latencies and p95 and latency_stats
        else None,
        queue_normal=normal,
        queue_warning=max(DEFAULT_QUEUE_WARNING, 4 * normal),
        hours=len(rates),
        canaries=len(latencies),
    )


def _hourly_rates(queue: Sequence[Sample], started: Moment) -> list[float]:
    """Return the success rate of each hour in which tasks ended."""
    hours: dict[int, list[Sample]] = {}
    for sample in queue:
        hour = int(sample.moment.since(started) // HOUR_S)
        hours.setdefault(hour, []).append(sample)
    rates = []
    for _, samples in sorted(hours.items()):
        good, ended = count_ended_tasks(samples)
        if ended:
            rates.append(100.0 * good / ended)
    return rates


def parse_thresholds(document: object) -> Thresholds:
    """Return thresholds from an untrusted document. Invalid values yield the defaults."""
    fields = as_object(as_object(document).get("thresholds"))
    return Thresholds(
        success_rate=as_number(fields.get("success_rate")),
        latency_s=as_number(fields.get("latency_s")),
        queue_normal=as_count(fields.get("queue_normal")) or DEFAULT_QUEUE_NORMAL,
        queue_warning=as_count(fields.get("queue_warning")) or DEFAULT_QUEUE_WARNING,
        hours=as_count(fields.get("hours")) or 0,
        canaries=as_count(fields.get("canaries")) or 0,
    )


def invalid_entries(document: object) -> list[str]:
    """Return each entry of a threshold document whose value is invalid, as text."""
    fields = as_object(document).get("thresholds")
    if not isinstance(fields, dict):
        return ["thresholds: is missing"]
    parsers = {"success_rate": as_number, "latency_s": as_number, "queue_normal": as_count}
    parsers |= {"queue_warning": as_count}
    return [
        f"thresholds.{key} = {sanitize_text(repr(fields[key]), 60)}"
        for key, parse in parsers.items()
        if key in fields and parse(fields[key]) is None
    ]


def effective_thresholds(
    learnt: Thresholds | None,
    success_rate: float | None = None,
    latency_s: float | None = None,
    queue_normal: int | None = None,
    queue_warning: int | None = None,
) -> Thresholds | None:
    """Return the learnt thresholds, overridden by configured ones; None if there are neither."""
    configured = {
        "success_rate": success_rate,
        "latency_s": latency_s,
        "queue_normal": queue_normal,
        "queue_warning": queue_warning,
    }
    overrides: dict[str, Any] = {
        key: value for key, value in configured.items() if value is not None
    }
    return replace(learnt or Thresholds(), **overrides) if overrides else learnt
