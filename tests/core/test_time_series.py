"""A time series holds the values of its samples as bare numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.metrics.time_series import TimeSeries
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.text.json_values import as_number

NOW = Moment(4e9, 2e6, "b1")
KEYS = ("size", "failed")
moments = st.builds(Moment, st.floats(0, 4e9), st.floats(0, 1e6), st.sampled_from(["", "b1", "b2"]))
values = st.none() | st.booleans() | st.text() | st.integers(-5, 2**53) | st.floats()
looks = st.lists(
    st.builds(
        Sample,
        st.just("queue"),
        moments,
        st.dictionaries(st.sampled_from([*KEYS, "more"]), values),
    )
)


def same(told: Sequence[float], known: Sequence[object]) -> bool:
    pairs = zip(told, map(as_number, known), strict=True)
    return all(isnan(one) if other is None else one == other for one, other in pairs)


@settings(deadline=None)
@given(looks, moments)
def test_time_series_holds_the_values_of_its_samples(samples: list[Sample], now: Moment) -> None:
    series = TimeSeries(KEYS, samples)
    assert len(series) == len(samples)
    assert [*series.ages(now)] == [now.since(one.moment) for one in samples]
    for key in KEYS:
        assert same(series[key], [one.data.get(key) for one in samples])
    assert series.last_moment == (samples[-1].moment if samples else None)


@settings(deadline=None)
@given(looks, st.floats(0, 4e9), st.integers(0, 5))
def test_drop_old_limits_age_and_length(samples: list[Sample], length_s: float, most: int) -> None:
    series = TimeSeries(KEYS, samples)
    before = series.copy()
    series.drop_old(NOW, length_s, most)
    while samples and NOW.since(samples[0].moment) > length_s:
        samples.pop(0)
    left = samples[-most:] if most else []
    assert [*series.ages(NOW)] == [NOW.since(one.moment) for one in left]
    assert same(series["size"], [one.data.get("size") for one in left])
    assert len(before) >= len(series)
    assert len(before["size"]) == len(before), "a copy has changed with it"
