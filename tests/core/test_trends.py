"""Cells of equal time: what falls where, what is unknown, what is worst."""

from __future__ import annotations

import gc

import pytest

from console.core.model import Event, EventKind, Moment, Sample, Verdict
from console.core.trends import (
    DAY_S,
    HOUR_S,
    SPANS,
    Reading,
    Trends,
    depth,
    latency,
    night,
    percentiles,
    reading,
    step,
    success,
    trends,
)

NOW = 1_800_000_000.0


def day(*readings: Reading, **other: object) -> Trends:
    return Trends(NOW, readings, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("width", [1, 5, 24, 33, 61, 148, 300])
def test_a_span_fits_its_width(span: float, width: int) -> None:
    length = step(span, width)
    assert span / length <= width or length == span
    curve = depth(day(Reading(NOW, 3)), span, width)
    assert len(curve.values) <= width + 1
    assert curve.values[-1] == 3
    assert curve.begins % curve.step_s == 0


@pytest.mark.parametrize(
    ("monitor", "data", "error", "wanted"),
    [
        ("queue", {"size": 3, "successful": 9, "failed": 1}, None, Reading(5.0, 3, done=(9, 1))),
        ("queue", {"size": True, "successful": "9"}, None, Reading(5.0)),
        ("queue", {"size": 3}, "refused", Reading(5.0)),
        ("canary", {"ok": True, "latency_s": 0.5}, None, Reading(5.0, latency=0.5)),
        ("canary", {"ok": False, "latency_s": 0.5}, None, Reading(5.0)),
        ("worker", {"size": 3}, None, Reading(5.0)),
    ],
)
def test_readings(monitor: str, data: dict, error: str | None, wanted: Reading) -> None:
    assert reading(Sample(monitor, Moment(5.0), data, error), Moment(9.0)) == wanted


def test_a_cell_shows_its_worst_and_nothing_where_nobody_looked() -> None:
    known = day(Reading(NOW - 3000, 2, 0.5), Reading(NOW - 2990, 9, 1.5), Reading(NOW - 10, 1, 0.2))
    assert depth(known, HOUR_S, 60).known == (9, 1)
    assert latency(known, HOUR_S, 60).known == (1.5, 0.2)
    assert latency(known, HOUR_S, 60).last == 0.2
    assert depth(known, HOUR_S, 60).values.count(None) == 58


def test_success_is_what_ended_in_a_cell_over_counters_that_restart() -> None:
    known = day(
        Reading(NOW - 130, done=(100, 4)),
        Reading(NOW - 70, done=(108, 6)),
        Reading(NOW - 40, done=(108, 6)),
        Reading(NOW - 5, done=(1, 1)),
    )
    curve = success(known, HOUR_S, 60)
    assert curve.known == (80.0, 50.0)


def test_percentiles_are_of_the_span() -> None:
    known = day(*(Reading(NOW - 60 * n, latency=float(n)) for n in range(1, 101)))
    assert percentiles(known, HOUR_S) == (30.0, 57.0, HOUR_S)
    assert percentiles(day(), HOUR_S) is None


def test_percentiles_of_seldom_canaries_are_of_a_longer_span_and_say_so() -> None:
    every_half_hour = day(*(Reading(NOW - 1800 * n, latency=float(n)) for n in range(48)))
    assert percentiles(every_half_hour, HOUR_S) == (5.0, 11.0, 6 * HOUR_S)
    four = day(*(Reading(NOW - 1800 * n, latency=1.0) for n in range(4)))
    assert percentiles(four, HOUR_S) is None


def strip(known: Trends, width: int = 24) -> str:
    shapes = {None: " ", "healthy": "h", "degraded": "g", "down": "D", "unknown": "u"}
    return "".join(
        "R" if cell.restarted else shapes[cell.verdict and cell.verdict.value]
        for cell in night(known, width)[2]
    )


def looks(first: float, last: float) -> list[Reading]:
    return [Reading(NOW - age) for age in range(int(first), int(last), -300)]


def test_the_night_is_worst_first_and_unknown_where_nobody_looked() -> None:
    hours = 3600.0
    known = day(
        *looks(20 * hours, 12 * hours),
        *looks(6 * hours, 0),
        verdicts=(
            (NOW - 20 * hours, "healthy"),
            (NOW - 16 * hours, "down"),
            (NOW - 16 * hours + 9, "healthy"),
            (NOW - 14.5 * hours, "degraded"),
            (NOW - 14 * hours, "healthy"),
            (NOW - 3.2 * hours, "unknown"),
            (NOW - 1.1 * hours, "healthy"),
        ),
        restarts=(NOW - 16 * hours + 5,),
    )
    drawn = strip(known)
    assert len(drawn) == 24
    assert drawn.startswith("   ") and "R" in drawn and "g" in drawn and "uuuu" in drawn
    assert drawn[-1] == "h" and drawn[-3] == "u"
    assert drawn.count("D") == 0  # the restart's cell says it
    assert night(known, 24)[2][drawn.index("R")].verdict is Verdict.DOWN


def test_no_history_is_no_claim() -> None:
    assert set(strip(day())) == {" "}
    assert strip(day(*looks(1800, 0))).strip() == ""  # looked at, and nothing was said


def test_restarts_follow_a_death_of_the_same_role() -> None:
    def event(kind: EventKind, age: float, role: str = "worker") -> Event:
        return Event(kind, Moment(NOW - age), role)

    found = trends(
        [Reading(NOW - DAY_S - 1), Reading(NOW - 1), Reading(NOW + 1)],
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
    assert found.restarts == (NOW - 780,)
    assert found.verdicts == ((NOW - 5, "healthy"),)
    assert [one.at for one in found.readings] == [NOW - 1]


def test_days_that_nobody_looks_at_any_more_are_let_go() -> None:
    def kept() -> int:
        return sum(isinstance(one, Trends) for one in gc.get_objects())

    before = kept()
    for _ in range(50):
        newest = day(Reading(NOW - 5))
        for draw in (latency, depth, success):
            draw(newest, DAY_S, 24)
        night(newest, 24)
    assert kept() - before <= 4
