"""Statistics, checked against known values and against properties for any input."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.metrics.statistics import (
    counter_increase,
    counter_increases,
    mean_and_deviation,
    percentile,
    wilson_interval,
)

finite = st.floats(-1e9, 1e9)
counters = st.lists(st.integers(0, 10_000), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 95, None),
        ([7], 95, 7),
        ([7], 0, 7),
        ([15, 20, 35, 40, 50], 30, 20),
        ([15, 20, 35, 40, 50], 40, 20),
        ([15, 20, 35, 40, 50], 50, 35),
        ([15, 20, 35, 40, 50], 100, 50),
        (list(range(1, 101)), 95, 95),
        (list(range(1, 101)), 7, 7),  # 0.07 * 100 is slightly above 7
        (list(range(1, 13)), 95, 12),
        ([1, math.inf], 95, math.inf),
    ],
)
def test_percentile_uses_the_nearest_rank(
    values: list[float], share: float, expected: float | None
) -> None:
    assert percentile(values, share) == expected


@given(st.lists(finite, min_size=1), st.floats(0, 100))
def test_percentile_is_a_value_with_its_share_at_or_below(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    at_or_below = sum(value <= found for value in values)
    assert at_or_below >= len(values) * share / 100 - 1e-6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0),
        ([5], 0),
        ([5, 5], 0),
        ([5, 9], 4),
        ([5, 0], 0),
        ([5, 2], 2),
        ([5, 9, 2, 3], 7),
        ([9, 0, 9, 0, 9], 18),
    ],
)
def test_counter_increase_survives_counter_resets(values: list[float], expected: float) -> None:
    assert counter_increase(values) == expected


def test_counters_of_one_process_restart_together() -> None:
    # `successful` alone seems to rise by 2. `failed` shows that the server was restarted.
    assert counter_increases([(4, 1), (6, 0)]) == (6, 0)
    assert counter_increases([]) == ()


@given(counters, counters)
def test_counter_increase_includes_counts_after_a_restart(
    first: list[int], second: list[int]
) -> None:
    before, after = sorted(first), sorted(second)
    total = counter_increase([*before, *after])
    assert total >= 0
    if after[0] < before[-1]:
        assert total == before[-1] - before[0] + after[-1]


@given(st.lists(finite, min_size=2, max_size=50))
def test_mean_and_deviation_agree_with_the_standard_library(values: list[float]) -> None:
    found = mean_and_deviation(values)
    assert found is not None
    assert found[0] == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert found[1] == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-4)
    assert min(values) <= found[0] <= max(values)


def test_mean_of_no_values_is_unknown() -> None:
    assert mean_and_deviation([]) is None
    assert mean_and_deviation([3.5]) == (3.5, 0.0)


@pytest.mark.parametrize(
    ("good", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (95, 100, 0.8882, 0.9785),
    ],
)
def test_wilson_interval_matches_known_values(good: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(good, n) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_wilson_interval_contains_the_share_within_0_and_1(good: int, bad: int) -> None:
    found = wilson_interval(good, good + bad)
    if not good + bad:
        assert found is None
        return
    assert found is not None
    assert 0 <= found[0] <= good / (good + bad) <= found[1] <= 1
