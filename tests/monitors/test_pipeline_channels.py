"""The pipeline's channels, compared with the past day and with the same hour of earlier days."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console.core.metrics.rollups import Rollup
from console.core.metrics.time_series import TimeSeries
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import replace
from console.monitors import _pipeline_channels, _seasonality, pipeline

NOW = Moment(1_762_165_640.0, 500_000.0, "b1")
STATUS = "realtime_pipeline_status.json"


# --- channels -------------------------------------------------------------------------------


def sizes(*values: Any) -> list[Sample]:
    return [
        Sample("queue", NOW.plus(-10.0 * (len(values) - n)), {"size": value})
        for n, value in enumerate(values)
    ]


def queue_of(samples: list[Sample]) -> TimeSeries:
    return TimeSeries(_pipeline_channels.QUEUE_FIELDS, samples)


NO_CANARY = TimeSeries(_pipeline_channels.CANARY_FIELDS)


@pytest.mark.parametrize(
    ("values", "severity"),
    [
        ([0] * 12 + [2], "none"),
        ([0] * 12 + [3], "low"),
        ([0] * 12 + [4], "medium"),
        ([0] * 12 + [100], "high"),
        ([0] * 11 + [100], "none"),  # too few earlier samples
        ([50] * 12 + [0], "none"),  # a shorter queue is no anomaly
        ([0, 30] * 10 + [40], "none"),
    ],
)
def test_severity_grows_with_the_deviation(values: list[int], severity: str) -> None:
    (channel,) = _pipeline_channels.evaluate_channels(queue_of(sizes(*values)), NO_CANARY, NOW)
    assert (channel.name, channel.severity, channel.n) == ("queue_size", severity, len(values))


def test_hour_of_failures_is_an_anomaly() -> None:
    queue = [
        Sample("queue", NOW.plus(-3600.0 * ago), {"successful": good, "failed": bad})
        for ago, good, bad in [(20 - n, 100 * n, 0) for n in range(20)] + [(0.5, 1900, 50)]
    ]
    (channel,) = _pipeline_channels.evaluate_channels(queue_of(queue), NO_CANARY, NOW)
    assert (channel.name, channel.latest, channel.mean) == ("success_rate", 0.0, 100.0)
    assert channel.severity == "high"


def test_old_samples_and_invalid_values_are_ignored() -> None:
    old = Sample("queue", NOW.plus(-90_000), {"size": 900})
    queue = queue_of([old, *sizes(1, "2", None, True, 3)])
    (channel,) = _pipeline_channels.evaluate_channels(queue, NO_CANARY, NOW)
    assert (channel.latest, channel.mean, channel.n) == (3, 1, 2)


# --- seasons and hourly means ---------------------------------------------------------------


def at_this_hour(field: str, *figures: float, now: Moment = NOW) -> list[Rollup]:
    """Return rollups of the same hour of earlier days, newest first, ten equal samples each."""
    monitor = "canary" if field == "latency_s" else "queue"
    begins = int(now.at // 3600 * 3600)
    return [
        Rollup(monitor, field, 3600, begins - day * 86_400, 10, 10 * v, 10 * v * v, v, v)
        for day, v in enumerate(figures, 1)
    ]


@pytest.mark.parametrize(
    ("figures", "days", "severity"),
    [
        ([30.0] * 5, 5, "none"),  # always long at this hour, but not today
        ([30.0] * 4, 0, "high"),  # four days are too few; today decides
        ([2.0] * 7, 7, "high"),
        ([20.0, 40.0] * 3, 6, "none"),
    ],
)
def test_newest_value_is_compared_with_the_same_hour_of_earlier_days(
    figures: list[float], days: int, severity: str
) -> None:
    seasons = _seasonality.compute_seasons({"queue_size": at_this_hour("size", *figures)}, NOW)
    queue = queue_of(sizes(*[0] * 20, 30))
    (channel,) = _pipeline_channels.evaluate_channels(queue, NO_CANARY, NOW, seasons)
    assert (channel.days, channel.severity) == (days, severity)


def test_season_excludes_other_hours_and_today() -> None:
    hour = at_this_hour("size", *[30.0] * 6)
    moved = [replace(one, at=one.at + 7200) for one in hour]
    today = [replace(one, at=int(NOW.at) - 3600 * n) for n, one in enumerate(hour)]
    assert _seasonality.compute_seasons({"queue_size": [*moved, *today]}, NOW) == {}


def test_season_of_the_success_rate() -> None:
    good, bad = at_this_hour("successful", *[9.0] * 5), at_this_hour("failed", *[1.0] * 5)
    hours = {"successful": good, "failed": bad}
    season = _seasonality.compute_seasons(hours, NOW)["success_rate"]
    assert (season.mean, season.sigma, season.days) == (90.0, 0.0, 5)
    assert (
        _seasonality.compute_seasons({"successful": at_this_hour("successful", *[0.0] * 5)}, NOW)
        == {}
    )


def test_hourly_means_cover_the_past_day() -> None:
    queue = [
        Sample("queue", NOW.plus(-3600.0 * ago), {"size": ago, "successful": good, "failed": 0})
        for ago, good in [(3, 0), (1.5, 5), (0.5, 9), (0.25, 9)]
    ]
    canary = [Sample("canary", NOW.plus(-80_000), {"ok": True, "latency_s": 0.25})]
    series = _pipeline_channels.hourly_means(
        queue_of(queue), TimeSeries(_pipeline_channels.CANARY_FIELDS, canary), NOW
    )
    assert {len(means) for means in series.values()} == {24}
    assert series["queue_size"][-4:] == [3, None, 1.5, 0.375]
    assert series["success_rate"][-4:] == [None, None, 100.0, 100.0]
    assert series["latency_s"][1] == 0.25 and series["latency_s"].count(None) == 23


async def test_status_file_contains_seasons_and_hourly_means(box: Any) -> None:
    now = box.now()
    box.samples = [
        Sample("queue", now.plus(-100.0 * n), {"size": n % 3}) for n in reversed(range(50))
    ]
    box.rollups = at_this_hour("size", *[1.0] * 9, now=now)
    await pipeline.probe(box)
    status = json.loads((box.outputs_dir / STATUS).read_bytes())
    (season,) = status["seasonality"]
    assert (season["period"], season["days"], season["baseline"]) == (24.0, 9, 1.0)
    assert status["hourly"]["queue_size"][-1] is not None
    text = (box.outputs_dir / STATUS).with_suffix(".md").read_text()
    assert "this hour of 9 days" in text and "- queue_size: – " in text
