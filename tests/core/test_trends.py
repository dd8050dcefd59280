"""Trend curves with cells of equal length: bounds, unknown cells and worst values."""

from __future__ import annotations

import gc

import pytest

from console.core.model.events import Event, EventKind
from console.core.model.samples import Sample
from console.core.model.snapshot import Verdict
from console.core.model.time import Moment
from console.core.trends import (
    DAY_S,
    HOUR_S,
    SPANS_S,
    TrendPoint,
    Trends,
    build_trends,
    choose_cell_length,
    compute_latency_percentiles,
    latency_curve,
    queue_size_curve,
    success_rate_curve,
    to_trend_point,
    verdict_strip,
)

NOW = 1_800_000_000.0


def day(*readings: TrendPoint, **other: object) -> Trends:
    return Trends(NOW, readings, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("span", SPANS_S)
@pytest.mark.parametrize("width", [1, 5, 24, 33, 61, 148, 300])
def test_curve_fits_the_requested_width(span: float, width: int) -> None:
    length = choose_cell_length(span, width)
    assert span / length <= width or length == span
    curve = queue_size_curve(day(TrendPoint(NOW, 3)), span, width)
    assert len(curve.values) <= width + 1
    assert curve.values[-1] == 3
    assert curve.starts_at % curve.cell_length_s == 0


@pytest.mark.parametrize(
    ("monitor", "data", "error", "wanted"),
    [
        (
            "queue",
            {"size": 3, "successful": 9, "failed": 1},
            None,
            TrendPoint(5.0, 3, task_counters=(9, 1)),
        ),
        ("queue", {"size": True, "successful": "9"}, None, TrendPoint(5.0)),
        ("queue", {"size": 3}, "refused", TrendPoint(5.0)),
        ("canary", {"ok": True, "latency_s": 0.5}, None, TrendPoint(5.0, latency_s=0.5)),
        ("canary", {"ok": False, "latency_s": 0.5}, None, TrendPoint(5.0)),
        ("worker", {"size": 3}, None, TrendPoint(5.0)),
    ],
)
def test_to_trend_point_keeps_only_valid_values(
    monitor: str, data: dict, error: str | None, wanted: TrendPoint
) -> None:
    assert to_trend_point(Sample(monitor, Moment(5.0), data, error), Moment(9.0)) == wanted


def test_curve_cell_shows_the_worst_value_or_none_without_samples() -> None:
    known = day(
        TrendPoint(NOW - 3000, 2, 0.5), TrendPoint(NOW - 2990, 9, 1.5), TrendPoint(NOW - 10, 1, 0.2)
    )
    assert queue_size_curve(known, HOUR_S, 60).known_values == (9, 1)
    assert latency_curve(known, HOUR_S, 60).known_values == (1.5, 0.2)
    assert latency_curve(known, HOUR_S, 60).last_known == 0.2
    assert queue_size_curve(known, HOUR_S, 60).values.count(None) == 58


def test_success_rate_curve_handles_counter_restarts() -> None:
    known = day(
        TrendPoint(NOW - 130, task_counters=(100, 4)),
        TrendPoint(NOW - 70, task_counters=(108, 6)),
        TrendPoint(NOW - 40, task_counters=(108, 6)),
        TrendPoint(NOW - 5, task_counters=(1, 1)),
    )
    curve = success_rate_curve(known, HOUR_S, 60)
    assert curve.known_values == (80.0, 50.0)


def test_latency_percentiles_cover_the_span() -> None:
    known = day(*(TrendPoint(NOW - 60 * n, latency_s=float(n)) for n in range(1, 101)))
    assert compute_latency_percentiles(known, HOUR_S) == (30.0, 57.0, HOUR_S)
    assert compute_latency_percentiles(day(), HOUR_S) is None


def test_latency_percentiles_of_rare_canaries_use_a_longer_span() -> None:
    every_half_hour = day(*(TrendPoint(NOW - 1800 * n, latency_s=float(n)) for n in range(48)))
    assert compute_latency_percentiles(every_half_hour, HOUR_S) == (5.0, 11.0, 6 * HOUR_S)
    four = day(*(TrendPoint(NOW - 1800 * n, latency_s=1.0) for n in range(4)))
    assert compute_latency_percentiles(four, HOUR_S) is None


def strip(known: Trends, width: int = 24) -> str:
    shapes = {None: " ", "healthy": "h", "degraded": "g", "down": "D", "unknown": "u"}
    return "".join(
        "R" if cell.has_restart else shapes[cell.verdict and cell.verdict.value]
        for cell in verdict_strip(known, width)[2]
    )


def looks(first: float, last: float) -> list[TrendPoint]:
    return [TrendPoint(NOW - age) for age in range(int(first), int(last), -300)]


def test_verdict_strip_shows_the_worst_and_unknown_verdicts() -> None:
    hours = 3600.0
    known = day(
        *looks(20 * hours, 12 * hours),
        *looks(6 * hours, 0),
        verdict_changes=(
            (NOW - 20 * hours, "healthy"),
            (NOW - 16 * hours, "down"),
            (NOW - 16 * hours + 9, "healthy"),
            (NOW - 14.5 * hours, "degraded"),
            (NOW - 14 * hours, "healthy"),
            (NOW - 3.2 * hours, "unknown"),
            (NOW - 1.1 * hours, "healthy"),
        ),
        restart_times=(NOW - 16 * hours + 5,),
    )
    drawn = strip(known)
    assert len(drawn) == 24
    assert drawn.startswith("   ") and "R" in drawn and "g" in drawn and "uuuu" in drawn
    assert drawn[-1] == "h" and drawn[-3] == "u"
    assert drawn.count("D") == 0  # the cell of the restart shows it
    assert verdict_strip(known, 24)[2][drawn.index("R")].verdict is Verdict.DOWN


def test_verdict_strip_is_blank_without_history() -> None:
    assert set(strip(day())) == {" "}
    assert strip(day(*looks(1800, 0))).strip() == ""  # samples, but no verdict


def test_restart_times_require_a_death_of_the_same_role() -> None:
    def event(kind: EventKind, age: float, role: str = "worker") -> Event:
        return Event(kind, Moment(NOW - age), role)

    found = build_trends(
        [TrendPoint(NOW - DAY_S - 1), TrendPoint(NOW - 1), TrendPoint(NOW + 1)],
        [
            event(EventKind.STARTED, 900),
            event(EventKind.DIED, 800),
            event(EventKind.STARTED, 790, "watchdog"),
            event(EventKind.STARTED, 780),
            event(EventKind.STARTED, 700),
            Event(EventKind.VERDICT_CHANGED, Moment(NOW - 5), data={"verdict": "healthy"}),
            event(EventKind.DIED, -10),
        ],
        Moment(NOW),
    )
    assert found.restart_times == (NOW - 780,)
    assert found.verdict_changes == ((NOW - 5, "healthy"),)
    assert [one.at for one in found.points] == [NOW - 1]


def test_unused_trends_are_released_by_the_caches() -> None:
    def kept() -> int:
        return sum(isinstance(one, Trends) for one in gc.get_objects())

    before = kept()
    for _ in range(50):
        newest = day(TrendPoint(NOW - 5))
        for draw in (latency_curve, queue_size_curve, success_rate_curve):
            draw(newest, DAY_S, 24)
        verdict_strip(newest, 24)
    assert kept() - before <= 4
