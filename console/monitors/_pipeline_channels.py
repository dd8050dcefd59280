"""The pipeline's channels: each newest value against its hour of earlier days, or its past day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import isnan
from typing import Any

from console.core.frozen import frozen
from console.core.metrics.statistics import increases, mean_sigma
from console.core.metrics.time_series import Series
from console.core.model import Moment
from console.core.text.json_values import count
from console.monitors._seasonality import Season

GENERATOR, SCHEMA = "rpa-console", 1
WINDOW_S = 86_400.0
QUEUE, CANARY = ("size", "successful", "failed"), ("latency_s",)
"""What is needed of each look."""
HOUR_S, HOURS = 3600.0, 24
STEPS = 28
ENOUGH = 12
"""Earlier values before a deviation is called an anomaly."""
SEVERITIES = ((6.0, "high"), (4.0, "medium"), (3.0, "low"))
"""From this many sigma on."""
BAD_WHEN_LOW = {"success_rate"}
LEAST_SIGMA = {"latency_s": 0.1, "queue_size": 1.0, "success_rate": 1.0}
"""A channel that never moved has no sigma; less than this is noise, not news."""

Point = tuple[float, float]
"""(age in seconds, value)."""


@frozen
class Channel:
    """One channel's newest value, and the past it is compared with."""

    name: str
    latest: float
    mean: float
    sigma: float
    deviation_sigma: float
    severity: str
    n: int
    days: int = 0
    """Earlier days whose same hour it was compared with; 0: it was compared with its past day."""

    @property
    def anomaly(self) -> bool:
        return self.severity != "none"


def channels(
    queue: Series,
    canary: Series,
    now: Moment,
    seasons: Mapping[str, Season] | None = None,
) -> list[Channel]:
    """The channels that have a value within the last day."""
    usual = seasons or {}
    return [
        _channel(name, [value for _, value in points], usual.get(name))
        for name, points in _measured(queue, canary, now).items()
        if points
    ]


def _measured(queue: Series, canary: Series, now: Moment) -> dict[str, list[Point]]:
    return {
        "latency_s": _points(canary, "latency_s", now),
        "queue_size": _points(queue, "size", now),
        "success_rate": _hourly_success(queue, now),
    }


def hourly(queue: Series, canary: Series, now: Moment) -> dict[str, list[float | None]]:
    """Each channel's mean over each of the past 24 hours, oldest first; None: nothing known."""
    found: dict[str, list[float | None]] = {}
    for name, points in _measured(queue, canary, now).items():
        hours: list[list[float]] = [[] for _ in range(HOURS)]
        for age, value in points:
            hours[HOURS - 1 - min(HOURS - 1, int(age // HOUR_S))].append(value)
        found[name] = [round(sum(held) / len(held), 4) if held else None for held in hours]
    return found


def _points(looks: Series, key: str, now: Moment) -> list[Point]:
    told = zip(looks.ages(now), looks[key], strict=True)
    return [(age, value) for age, value in told if age <= WINDOW_S and not isnan(value)]


def _hourly_success(queue: Series, now: Moment) -> list[Point]:
    """The share of tasks that succeeded (percent), for each past hour in which any ended."""
    hours: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (_, before), (age, after) in pairwise(_counters(queue, now)):
        if age <= WINDOW_S:
            good, bad = increases([before, after])
            hours[int(age // HOUR_S)][0] += good
            hours[int(age // HOUR_S)][1] += bad
    ended = sorted(((hour, *sums) for hour, sums in hours.items() if sum(sums)), reverse=True)
    return [(hour * HOUR_S, 100.0 * good / (good + bad)) for hour, good, bad in ended]


def _counters(queue: Series, now: Moment) -> Iterator[tuple[float, tuple[float, float]]]:
    """(age, (successful, failed)) of every look that told both."""
    for age, *told in zip(queue.ages(now), queue["successful"], queue["failed"], strict=True):
        good, bad = map(count, told)
        if good is not None and bad is not None:
            yield age, (good, bad)


def _channel(name: str, values: Sequence[float], season: Season | None) -> Channel:
    latest, past = values[-1], values[:-1] or values
    mean, sigma = mean_sigma(past) or (latest, 0.0)
    if season is not None:
        mean, sigma = season.mean, season.sigma
    deviation = (latest - mean) / max(sigma, LEAST_SIGMA[name])
    bad = -deviation if name in BAD_WHEN_LOW else deviation
    level = next((word for least, word in SEVERITIES if bad >= least), "none")
    severity = level if season is not None or len(past) >= ENOUGH else "none"
    days = season.days if season is not None else 0
    return Channel(name, latest, mean, sigma, deviation, severity, len(values), days)


def status(
    found: Sequence[Channel],
    queue: Series,
    canary: Series,
    next_runs: Mapping[str, float],
    now: Moment,
) -> dict[str, Any]:
    """The status file: the old shape, with ours marked by `generator` and `schema`."""
    return {
        "generator": GENERATOR,
        "schema": SCHEMA,
        "generated_at": _local(now.at),
        "generated_at_utc": datetime.fromtimestamp(now.at, UTC).isoformat(timespec="seconds"),
        "metrics_path": "",
        "window_hours": WINDOW_S / HOUR_S,
        "seeds": {one.name: float(round(one.mean, 4)) for one in found},
        "seasonality": [_season(one) for one in found],
        "simulation": {
            "final_state": {one.name: float(round(one.latest, 4)) for one in found},
            "resonance_series": _series(_points(queue, "size", now)),
        },
        "hourly": hourly(queue, canary, now),
        "next_runs": {name: _local(at) for name, at in next_runs.items()},
    }


def _season(one: Channel) -> dict[str, Any]:
    return {
        "channel": one.name,
        "latest": round(one.latest, 4),
        "period": 24.0 if one.days else 0.0,
        "anomaly": one.anomaly,
        "severity": one.severity,
        "deviation_sigma": round(one.deviation_sigma, 3),
        "baseline": round(one.mean, 4),
        "confidence": round(min(1.0, one.n / 60), 3),
        "mean": round(one.mean, 4),
        "sigma": round(one.sigma, 4),
        "n": one.n,
        "days": one.days,
    }


def _series(points: Sequence[Point]) -> list[float]:
    """Old readers want 28 floats: the mean queue size of each 28th of the window, oldest first.

    A step without a look repeats the one before it (the first ones, the first known).
    """
    steps: dict[int, list[float]] = defaultdict(list)
    for age, value in points:
        steps[STEPS - 1 - min(STEPS - 1, int(age * STEPS / WINDOW_S))].append(value)
    if not steps:
        return []
    known = sum(steps[min(steps)]) / len(steps[min(steps)])
    series = []
    for step in range(STEPS):
        if step in steps:
            known = sum(steps[step]) / len(steps[step])
        series.append(float(round(known, 4)))
    return series


def markdown(status: Mapping[str, Any]) -> str:
    """The same for people."""
    rows = [
        f"| {one['channel']} | {one['latest']:g} | {one['mean']:g} | {one['sigma']:g}"
        f" | {one['deviation_sigma']:+.2f} σ | {one['severity']} | {one['n']} | {_against(one)} |"
        for one in status["seasonality"]
    ]
    runs = [f"- {name}: {at}" for name, at in status["next_runs"].items()]
    lines = [
        "# Realtime pipeline", "",
        f"Generated {status['generated_at']}, local time, over {status['window_hours']:g} hours.",
        "", "| channel | latest | mean | sigma | deviation | severity | n | against |",
        "|---|---|---|---|---|---|---|---|",
        *(rows or ["| nothing measured yet | | | | | | | |"]), "",
        "Mean of each hour, oldest first:", "", *_hours(status["hourly"]), "",
        "Next runs:", "", *runs,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _against(season: Mapping[str, Any]) -> str:
    return f"this hour of {season['days']} days" if season["days"] else "the past day"


def _hours(series: Mapping[str, Sequence[float | None]]) -> list[str]:
    return [
        f"- {name}: " + " ".join("–" if one is None else f"{one:.4g}" for one in means)
        for name, means in series.items()
    ]


def _local(at: float) -> str:
    """Local time without a zone, to the second, as the old readers expect it."""
    return datetime.fromtimestamp(at).isoformat(timespec="seconds")
