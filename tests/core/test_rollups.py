"""Rollups of samples by minute and by hour."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.metrics import statistics
from console.core.metrics.rollups import Rollup, mean_and_deviation, roll_up
from console.core.model.samples import Sample
from console.core.model.time import Moment

HOUR = 1_762_164_000
"""The Unix time at which an hour begins."""


def look(second: float, monitor: str = "queue", error: str | None = None, **data: Any) -> Sample:
    return Sample(monitor, Moment(HOUR + second, second, "b"), data, error)


def rolled(samples: list[Sample]) -> dict[tuple[str, int, int], Rollup]:
    found = roll_up(samples, HOUR, HOUR + 3600)
    return {(one.field, one.step, one.at - HOUR): one for one in found}


def test_roll_up_by_minute_and_by_hour() -> None:
    found = rolled([look(0, size=2), look(59, size=4), look(60, size=9), look(3600, size=99)])
    hour = found["size", 3600, 0]
    assert (hour.n, hour.sum, hour.squares, hour.min, hour.max) == (3, 15, 101, 2, 9)
    assert (found["size", 60, 0].n, found["size", 60, 60].sum) == (2, 9)
    assert found["answered", 3600, 0].sum == 3


@pytest.mark.parametrize(
    ("readings", "good", "bad"),
    [
        ([(-5, 10, 0), (5, 13, 1)], 3, 1),  # counted from the last sample before the hour
        ([(5, 13, 1)], None, None),  # one sample shows no increase
        ([(-5, 10, 2), (5, 3, 0), (15, 4, 0)], 4, 0),  # the queue server restarted
        ([(-5, 10, 0), (5, None, 0), (15, 12, 0)], 2, 0),
    ],
)
def test_roll_up_sums_counter_increases(
    readings: list[tuple[float, Any, Any]], good: Any, bad: Any
) -> None:
    found = rolled([look(at, successful=ok, failed=not_ok) for at, ok, not_ok in readings])
    hourly = [found.get((field, 3600, 0)) for field in ("successful", "failed")]
    assert [one and one.sum for one in hourly] == [good, bad]


def test_roll_up_of_canary_and_worker_samples() -> None:
    found = rolled(
        [
            look(1, "canary", ok=True, latency_s=0.5),
            look(2, "canary", ok=False, latency_s=None),
            look(3, "canary", "hung"),
            look(4, "worker", instances=[{"pid": 1}]),
            look(5, "worker", instances=[]),
            look(6, "worker", "no /proc"),
            look(7, "watchdog", pid=3),
        ]
    )
    hours = {field: (one.n, one.sum) for (field, step, _), one in found.items() if step == 3600}
    assert hours == {"ok": (2, 1), "latency_s": (1, 0.5), "present": (2, 1)}


def test_roll_up_skips_values_that_are_not_numbers() -> None:
    found = rolled([look(1, "queue", "hung", size="3", successful=True), look(2, "canary")])
    assert {field: one.sum for (field, step, _), one in found.items() if step == 3600} == {
        "answered": 0, "ok": 0,
    }  # fmt: skip


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_minute_rollups_combine_to_the_statistics_of_the_samples(sizes: list[int]) -> None:
    samples = [look(60 * n, size=size) for n, size in enumerate(sizes)]
    minutes = [
        one for (field, step, _), one in rolled(samples).items() if (field, step) == ("size", 60)
    ]
    assert mean_and_deviation(minutes) == pytest.approx(
        statistics.mean_and_deviation(sizes), abs=1e-6
    )
    assert mean_and_deviation([]) is None
