"""Views built from samples. Unknown values are None, and each view has the time of its sample."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.metrics.queue_metrics import compute_queue_metrics
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.model.views import QueueView
from console.core.snapshot import views
from console.core.snapshot.views import build_pipeline_view, build_watchdog_view

NOW = Moment(1_762_165_640.0, 5000.0, "b1")
OK = Health(HealthState.OK)
DOWN = Health(HealthState.FAILING, "no answer: refused")
URL = "http://127.0.0.1:8091"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
keys = st.sampled_from(
    ["size", "successful", "failed", "ok", "latency_s", "pid", "started_at", "heartbeat_at",
     "anomalies", "path", "problem", "channels", "next_runs", "generated_at", "mode"]
)  # fmt: skip
hostile = st.lists(
    st.builds(
        Sample,
        st.sampled_from(["queue", "canary", "watchdog", "pipeline"]),
        st.builds(Moment, st.floats(0, 4e9), st.floats(0, 1e6), st.sampled_from(["", "b1", "b2"])),
        st.dictionaries(keys, anything),
        st.none() | st.just("hung"),
    ),
    max_size=6,
)


def sample(monitor: str, ago: float, **data: Any) -> Sample:
    return Sample(monitor, NOW.plus(-ago), data)


def queue(ago: float, **data: Any) -> Sample:
    whole = {"size": 3, "inflight": 1, "completed": 24, "successful": 20, "failed": 4, **data}
    return sample("queue", ago, problem=None, **whole)


def queue_view(url: str, samples: list[Sample], health: Health, now: Moment) -> QueueView:
    held: dict[str, list[Sample]] = {}
    for one in samples:
        held.setdefault(one.monitor, []).append(one)
    return views.build_queue_view(url, compute_queue_metrics(held), health, now)


def test_queue_view_shows_the_newest_sample() -> None:
    samples = [
        queue(20, successful=10, failed=2),
        queue(2),
        sample("canary", 9, ok=True, latency_s=0.3),
    ]
    view = queue_view(URL, samples, OK, NOW)
    assert (view.size, view.inflight, view.completed, view.failed) == (3, 1, 24, 4)
    assert view.success_rate == pytest.approx(100 * 10 / 12)
    assert (view.latency_s, view.seen, view.state) == (0.3, NOW.plus(-2), HealthState.OK)


def test_success_rate_covers_the_last_hour() -> None:
    hours = [queue(9000, successful=0, failed=0), queue(3700, successful=0, failed=90)]
    view = queue_view(URL, [*hours, queue(3000, successful=5, failed=90), queue(2)], OK, NOW)
    assert view.success_rate == pytest.approx(100 * 20 / 24)  # 20 and 4 since the server restart


def test_success_rate_is_unknown_without_finished_tasks() -> None:
    assert queue_view(URL, [queue(20), queue(2)], OK, NOW).success_rate is None
    assert queue_view(URL, [queue(2)], OK, NOW).success_rate is None
    assert queue_view(URL, [], OK, NOW).seen is None


@pytest.mark.parametrize(
    "newest",
    [
        sample("queue", 1, size=None, problem="refused"),
        Sample("queue", NOW.plus(-1), error="hung"),
    ],
)
def test_unanswered_queue_shows_no_old_figures(newest: Sample) -> None:
    view = queue_view(URL, [queue(20, successful=10), queue(11), newest], DOWN, NOW)
    assert (view.size, view.completed) == (None, None)
    assert (view.seen, view.reason) == (NOW.plus(-11), "no answer: refused")
    assert view.success_rate == 100.0


def test_figures_of_the_wrong_type_are_unknown() -> None:
    view = queue_view(URL, [queue(1, size="3", inflight=True, completed=-1, failed=2.5)], OK, NOW)
    assert (view.size, view.inflight, view.completed, view.failed) == (None,) * 4


def test_failed_canary_has_no_latency() -> None:
    samples = [sample("canary", 90, ok=True, latency_s=0.3), sample("canary", 9, ok=False)]
    assert queue_view(URL, samples, OK, NOW).latency_s is None


def test_watchdog_view_converts_times_to_both_clocks() -> None:
    looked = NOW.plus(-5)
    data = {"pid": 7, "started_at": looked.at - 100, "heartbeat_at": looked.at - 12}
    one = Sample("watchdog", looked, {**data, "anomalies": ["queue_stuck"], "path": "/x"})
    view = build_watchdog_view([one], OK, NOW)
    assert view.started is not None and NOW.since(view.started) == pytest.approx(105)
    assert view.heartbeat is not None and NOW.since(view.heartbeat) == pytest.approx(17)
    assert (view.pid, view.anomalies, view.path) == (7, ("queue_stuck",), "/x")


def test_half_written_heartbeat_keeps_the_previous_one() -> None:
    samples = [
        sample("watchdog", 30, pid=7, heartbeat_at=NOW.at - 40),
        sample("watchdog", 1, pid=7, heartbeat_at=None, problem="half written"),
    ]
    view = build_watchdog_view(samples, OK, NOW)
    assert view.heartbeat is not None and view.heartbeat.at == pytest.approx(NOW.at - 40)


def test_pipeline_view_normalizes_channels_and_runs() -> None:
    one = sample(
        "pipeline", 3, mode="read", generated_at=NOW.at - 9, anomalies="one",
        channels=[["latency", 1.5, "ok"], ["x"], "y", ["z", "1", 2]],
        next_runs={"a": "soon", "b": 1},
    )  # fmt: skip
    view = build_pipeline_view([one], OK, NOW)
    assert view.channels == (
        ("latency", 1.5, "ok"), ("x", None, "?"), ("y", None, "?"), ("z", None, "?"),
    )  # fmt: skip
    assert (view.mode, view.anomalies, view.next_runs) == (
        "read",
        ("one",),
        {"a": "soon", "b": "?"},
    )


@given(hostile)
def test_views_accept_any_sample(samples: list[Sample]) -> None:
    for view in (
        queue_view(URL, samples, OK, NOW),
        build_watchdog_view(samples, OK, NOW),
        build_pipeline_view(samples, OK, NOW),
    ):
        assert view.seen is None or NOW.since(view.seen) >= 0
