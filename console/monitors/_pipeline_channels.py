"""Compares the newest value of each pipeline channel with its past.

The past is the same hour of earlier days or, if there are too few, the past day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import isnan
from typing import Any

from console.core.metrics.statistics import counter_increases, mean_and_deviation
from console.core.metrics.time_series import TimeSeries
from console.core.model.time import Moment
from console.core.records import Record
from console.core.text.json_values import as_count
from console.monitors._seasonality import Season

GENERATOR, SCHEMA_VERSION = "rpa-console", 1
WINDOW_S = 86_400.0
QUEUE_FIELDS, CANARY_FIELDS = ("size", "successful", "failed"), ("latency_s",)
"""The fields that are read from each sample."""
HOUR_S, HOURS_PER_DAY = 3600.0, 24
LEGACY_SERIES_LENGTH = 28
MIN_PAST_VALUES = 12
"""Minimum number of earlier values for a deviation to be an anomaly."""
SEVERITY_THRESHOLDS = ((6.0, "high"), (4.0, "medium"), (3.0, "low"))
"""(Minimum deviation in sigma, severity), most severe first."""
LOW_IS_BAD_CHANNELS = {"success_rate"}
MIN_SIGMA = {"latency_s": 0.1, "queue_size": 1.0, "success_rate": 1.0}
"""Lower bounds of sigma. A constant channel has sigma 0; smaller deviations are noise."""

AgedValue = tuple[float, float]
"""(age in seconds, value)."""


class Channel(Record, frozen=True):
    """The newest value of a channel, and the statistics that it is compared with."""

    name: str
    latest: float
    mean: float
    sigma: float
    deviation_sigma: float
    severity: str
    n: int
    days: int = 0
    """Number of earlier days whose same hour it is compared with; 0: compared with the past day."""

    @property
    def is_anomaly(self) -> bool:
        return self.severity != "none"


def evaluate_channels(
    queue: TimeSeries,
    canary: TimeSeries,
    now: Moment,
    seasons: Mapping[str, Season] | None = None,
) -> list[Channel]:
    """Return the channels that have a value within the last day."""
    seasons_by_name = seasons or {}
    return [
        _evaluate_channel(name, [value for _, value in points], seasons_by_name.get(name))
        for name, points in _points_by_channel(queue, canary, now).items()
        if points
    ]


def _points_by_channel(
    queue: TimeSeries, canary: TimeSeries, now: Moment
) -> dict[str, list[AgedValue]]:
    return {
        "latency_s": _points(canary, "latency_s", now),
        "queue_size": _points(queue, "size", now),
        "success_rate": _hourly_success_rates(queue, now),
    }


def hourly_means(
    queue: TimeSeries, canary: TimeSeries, now: Moment
) -> dict[str, list[float | None]]:
    """Return the mean of each channel for each of the past 24 hours, oldest first.

    A mean is None for an hour without values.
    """
    means: dict[str, list[float | None]] = {}
    for name, points in _points_by_channel(queue, canary, now).items():
        hours: list[list[float]] = [[] for _ in range(HOURS_PER_DAY)]
        for age, value in points:
            hours[HOURS_PER_DAY - 1 - min(HOURS_PER_DAY - 1, int(age // HOUR_S))].append(value)
        means[name] = [round(sum(values) / len(values), 4) if values else None for values in hours]
    return means


def _points(samples: TimeSeries, key: str, now: Moment) -> list[AgedValue]:
    aged_values = zip(samples.ages(now), samples[key], strict=True)
    return [(age, value) for age, value in aged_values if age <= WINDOW_S and not isnan(value)]


def _hourly_success_rates(queue: TimeSeries, now: Moment) -> list[AgedValue]:
    """Return the percentage of successful tasks for each past hour in which a task ended."""
    hours: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (_, before), (age, after) in pairwise(_aged_counters(queue, now)):
        if age <= WINDOW_S:
            succeeded, failed = counter_increases([before, after])
            hours[int(age // HOUR_S)][0] += succeeded
            hours[int(age // HOUR_S)][1] += failed
    ended = sorted(((hour, *sums) for hour, sums in hours.items() if sum(sums)), reverse=True)
    return [
        (hour * HOUR_S, 100.0 * succeeded / (succeeded + failed))
        for hour, succeeded, failed in ended
    ]


def _aged_counters(queue: TimeSeries, now: Moment) -> Iterator[tuple[float, tuple[float, float]]]:
    """Yield (age, (successful, failed)) of each sample that has both counters."""
    for age, *counters in zip(queue.ages(now), queue["successful"], queue["failed"], strict=True):
        succeeded, failed = map(as_count, counters)
        if succeeded is not None and failed is not None:
            yield age, (succeeded, failed)


def _evaluate_channel(name: str, values: Sequence[float], season: Season | None) -> Channel:
    latest, past = values[-1], values[:-1] or values
    mean, sigma = mean_and_deviation(past) or (latest, 0.0)
    if season is not None:
        mean, sigma = season.mean, season.sigma
    deviation = (latest - mean) / max(sigma, MIN_SIGMA[name])
    badness = -deviation if name in LOW_IS_BAD_CHANNELS else deviation
    severity_name = next(
        (label for least, label in SEVERITY_THRESHOLDS if badness >= least), "none"
    )
    severity = severity_name if season is not None or len(past) >= MIN_PAST_VALUES else "none"
    days = season.days if season is not None else 0
    return Channel(name, latest, mean, sigma, deviation, severity, len(values), days)


def build_status(
    evaluated: Sequence[Channel],
    queue: TimeSeries,
    canary: TimeSeries,
    next_runs: Mapping[str, float],
    now: Moment,
) -> dict[str, Any]:
    """Return the content of the status file: the old format, plus fields of our own.

    `generator` and `schema` mark it as written by rpa-console.
    """
    return {
        "generator": GENERATOR,
        "schema": SCHEMA_VERSION,
        "generated_at": _local_iso_time(now.at),
        "generated_at_utc": datetime.fromtimestamp(now.at, UTC).isoformat(timespec="seconds"),
        "metrics_path": "",
        "window_hours": WINDOW_S / HOUR_S,
        "seeds": {channel.name: float(round(channel.mean, 4)) for channel in evaluated},
        "seasonality": [_channel_to_json(channel) for channel in evaluated],
        "simulation": {
            "final_state": {channel.name: float(round(channel.latest, 4)) for channel in evaluated},
            "resonance_series": _legacy_series(_points(queue, "size", now)),
        },
        "hourly": hourly_means(queue, canary, now),
        "next_runs": {name: _local_iso_time(at) for name, at in next_runs.items()},
    }


def _channel_to_json(channel: Channel) -> dict[str, Any]:
    return {
        "channel": channel.name,
        "latest": round(channel.latest, 4),
        "period": 24.0 if channel.days else 0.0,
        "anomaly": channel.is_anomaly,
        "severity": channel.severity,
        "deviation_sigma": round(channel.deviation_sigma, 3),
        "baseline": round(channel.mean, 4),
        "confidence": round(min(1.0, channel.n / 60), 3),
        "mean": round(channel.mean, 4),
        "sigma": round(channel.sigma, 4),
        "n": channel.n,
        "days": channel.days,
    }


def _legacy_series(points: Sequence[AgedValue]) -> list[float]:
    """Return the 28 floats that readers of the old format expect, oldest first.

    Each is the mean queue size of one 28th of the window. A step without a sample repeats the step
    before; the first ones repeat the first known value. Empty without any sample.
    """
    steps: dict[int, list[float]] = defaultdict(list)
    for age, value in points:
        steps[
            LEGACY_SERIES_LENGTH
            - 1
            - min(LEGACY_SERIES_LENGTH - 1, int(age * LEGACY_SERIES_LENGTH / WINDOW_S))
        ].append(value)
    if not steps:
        return []
    mean = sum(steps[min(steps)]) / len(steps[min(steps)])
    series = []
    for step in range(LEGACY_SERIES_LENGTH):
        if step in steps:
            mean = sum(steps[step]) / len(steps[step])
        series.append(float(round(mean, 4)))
    return series


def render_markdown(status: Mapping[str, Any]) -> str:
    """Return the status as a Markdown document for the operator."""
    rows = [
        f"| {season['channel']} | {season['latest']:g} | {season['mean']:g} | {season['sigma']:g}"
        f" | {season['deviation_sigma']:+.2f} σ | {season['severity']} | "
        f"{season['n']} | {_comparison_text(season)} |"
        for season in status["seasonality"]
    ]
    runs = [f"- {name}: {at}" for name, at in status["next_runs"].items()]
    lines = [
        "# Realtime pipeline", "",
        f"Generated {status['generated_at']}, local time, over {status['window_hours']:g} hours.",
        "", "| channel | latest | mean | sigma | deviation | severity | n | against |",
        "|---|---|---|---|---|---|---|---|",
        *(rows or ["| nothing measured yet | | | | | | | |"]), "",
        "Mean of each hour, oldest first:", "", *_hourly_lines(status["hourly"]), "",
        "Next runs:", "", *runs,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _comparison_text(season: Mapping[str, Any]) -> str:
    return f"this hour of {season['days']} days" if season["days"] else "the past day"


def _hourly_lines(series: Mapping[str, Sequence[float | None]]) -> list[str]:
    return [
        f"- {name}: " + " ".join("–" if mean is None else f"{mean:.4g}" for mean in means)
        for name, means in series.items()
    ]


def _local_iso_time(at: float) -> str:
    """Return the local time without a zone, to the second, for readers of the old format."""
    return datetime.fromtimestamp(at).isoformat(timespec="seconds")
