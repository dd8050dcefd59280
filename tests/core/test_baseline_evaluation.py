"""The baseline's five metrics, computed from hand-written runs of one hour."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.baseline.evaluation import BaselineTargets, evaluate_baseline
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MetricView
from console.core.records import replace

START = Moment(1_762_165_640.0, 1000.0, "b1")
HOUR = BaselineTargets(hours=1, worker_every_s=60, queue_every_s=60)


def at(seconds: float) -> Moment:
    return START.plus(seconds)


def worker(seconds: float, *pids: int) -> Sample:
    return Sample("worker", at(seconds), {"instances": [{"pid": pid} for pid in pids]})


def queue(seconds: float, size: Any = 0, successful: Any = 0, failed: Any = 0) -> Sample:
    data = {"size": size, "successful": successful, "failed": failed, "problem": None}
    return Sample("queue", at(seconds), data)


def canary(seconds: float, latency_s: float | None) -> Sample:
    return Sample("canary", at(seconds), {"ok": latency_s is not None, "latency_s": latency_s})


def event(kind: EventKind, seconds: float, pid: int) -> Event:
    return Event(kind, at(seconds), "worker", identity=Identity(pid, 1, "b1"))


def looks(until: float = 3600) -> list[Sample]:
    """Return a healthy worker and queue sample per minute, with ten tasks done between samples."""
    times = range(0, int(until) + 1, 60)
    return [one for t in times for one in (worker(t, 7), queue(t, 1, t // 6))]


def metric(view: BaselineView, name: str) -> MetricView:
    return next(one for one in view.metrics if one.name == name)


def verdicts(view: BaselineView) -> dict[str, str]:
    return {one.name: one.verdict for one in view.metrics}


def test_run_of_one_good_hour_passes_every_metric() -> None:
    view = evaluate_baseline(START, [*looks(), canary(900, 0.3)], [], HOUR, at(3600))
    assert (view.state, view.progress, view.coverage) == ("complete", 1.0, 1.0)
    assert set(verdicts(view).values()) == {"pass"}
    assert view.checkpoint == at(3600)
    success = metric(view, "success_rate")
    assert (success.value, success.n, success.unit, success.target) == (100.0, 600, "%", ">= 95")
    assert metric(view, "latency_s").value == 0.3
    assert (metric(view, "uptime").value, metric(view, "queue_size").value) == (100.0, 1)


def test_no_metric_passes_before_the_run_ends() -> None:
    view = evaluate_baseline(START, [*looks(1800), canary(900, 0.3)], [], HOUR, at(1800))
    assert (view.state, view.progress) == ("collecting", 0.5)
    assert set(verdicts(view).values()) == {"undecided"}


def test_new_run_has_undecided_metrics() -> None:
    view = evaluate_baseline(START, [], [], HOUR, START)
    assert (view.state, view.progress, view.coverage) == ("collecting", 0.0, None)
    assert set(verdicts(view).values()) == {"undecided"}


def test_metrics_without_tasks_or_canaries_stay_undecided() -> None:
    samples = [one for t in range(0, 3601, 60) for one in (worker(t, 7), queue(t))]
    found = verdicts(evaluate_baseline(START, samples, [], HOUR, at(3600)))
    assert (found["success_rate"], found["latency_s"]) == ("undecided", "undecided")
    assert (found["uptime"], found["queue_size"], found["restarts"]) == ("pass", "pass", "pass")


def test_unrecoverable_metrics_fail_before_the_run_ends() -> None:
    samples = [*looks(600), worker(630), worker(660, 8), queue(660, 10)]
    events = [event(EventKind.DIED, 630, 7), event(EventKind.STARTED, 640, 8)]
    view = evaluate_baseline(START, samples, events, HOUR, at(700))
    found = verdicts(view)
    assert (found["uptime"], found["queue_size"], found["restarts"]) == ("fail",) * 3
    assert (found["success_rate"], found["latency_s"]) == ("undecided", "undecided")
    assert metric(view, "restarts").value == 1


def test_uptime_counts_deaths_between_two_samples() -> None:
    events = [event(EventKind.DIED, 70, 7), event(EventKind.STARTED, 80, 8)]
    samples = [*looks(60), worker(120, 8), queue(120)]
    view = evaluate_baseline(START, samples, events, HOUR, at(120))
    assert metric(view, "uptime").value == pytest.approx(100 * 110 / 120)


def test_ended_duplicate_counts_as_neither_downtime_nor_restart() -> None:
    samples = [worker(0, 7, 9), worker(60, 7), queue(0), queue(60)]
    view = evaluate_baseline(START, samples, [event(EventKind.ENDED, 30, 9)], HOUR, at(60))
    assert metric(view, "uptime").value == 100.0
    assert metric(view, "restarts").value == 0


def test_first_start_does_not_count_as_a_restart() -> None:
    events = [event(EventKind.STARTED, 5, 7), event(EventKind.DIED, -5, 6)]
    assert metric(evaluate_baseline(START, [], events, HOUR, at(60)), "restarts").value == 0


def test_unknown_time_counts_as_neither_up_nor_down() -> None:
    samples = [*looks(1800), Sample("worker", at(1801), error="hung"), worker(3000, 7)]
    uptime = metric(evaluate_baseline(START, samples, [], HOUR, at(3060)), "uptime")
    assert (uptime.value, uptime.verdict) == (100.0, "undecided")
    assert uptime.note.endswith("% unknown")


@pytest.mark.parametrize(("unseen_s", "state"), [(100, "complete"), (300, "invalid")])
def test_run_with_too_little_coverage_is_invalid(unseen_s: int, state: str) -> None:
    seen = [one for one in looks() if not 1200 < one.moment.at - START.at < 1290 + unseen_s]
    view = evaluate_baseline(START, seen, [], HOUR, at(3600))
    assert view.state == state
    assert ("pass" in verdicts(view).values()) == (state == "complete")
    assert bool(view.reason) == (state == "invalid")


def test_run_is_invalid_as_soon_as_coverage_is_unreachable() -> None:
    assert evaluate_baseline(START, [], [], HOUR, at(200)).state == "invalid"


def test_unanswered_queue_samples_do_not_count_as_coverage() -> None:
    down = Sample("queue", at(0), {"size": None, "problem": "refused"})
    view = evaluate_baseline(START, [worker(0, 7), down], [], HOUR, at(60))
    assert view.coverage == 0.5


def test_success_rate_spans_a_queue_server_restart() -> None:
    samples = [queue(0, 0, 4, 1), queue(60, 0, 8, 2), queue(120, 0, 3, 0), queue(180, "?", "?", 0)]
    success = metric(evaluate_baseline(START, samples, [], HOUR, at(180)), "success_rate")
    assert (success.value, success.n) == (pytest.approx(100 * 7 / 8), 8)
    assert success.note.startswith("95 % interval")


@pytest.mark.parametrize(
    ("latencies", "value", "verdict"),
    [
        ([0.2] * 19 + [9.0], 0.2, "pass"),
        ([0.2] * 19 + [None], 0.2, "pass"),
        ([0.2] * 9 + [None], None, "fail"),
        ([0.2, 5.0], 5.0, "fail"),
    ],
)
def test_unanswered_canary_counts_as_slower_than_any_latency(
    latencies: list[float | None], value: float | None, verdict: str
) -> None:
    canaries = [canary(100 + i, latency) for i, latency in enumerate(latencies)]
    found = metric(evaluate_baseline(START, [*looks(), *canaries], [], HOUR, at(3600)), "latency_s")
    assert (found.value, found.verdict, found.n) == (value, verdict, len(latencies))


def test_wall_clock_changes_do_not_affect_the_run() -> None:
    samples = [replace(one, moment=replace(one.moment, at=0.0)) for one in looks()]
    view = evaluate_baseline(START, samples, [], HOUR, replace(at(3600), at=9e9))
    assert (view.state, view.coverage) == ("complete", 1.0)


@given(
    st.lists(
        st.builds(worker, st.floats(-500, 4000), st.integers(1, 3))
        | st.builds(worker, st.floats(-500, 4000))
        | st.builds(queue, st.floats(-500, 4000), st.integers(0, 20) | st.none(), st.integers(0, 9))
        | st.builds(canary, st.floats(-500, 4000), st.none() | st.floats(0, 10)),
        max_size=40,
    ),
    st.lists(
        st.builds(event, st.sampled_from(EventKind), st.floats(-500, 4000), st.integers(1, 3)),
        max_size=20,
    ),
    st.floats(0, 8000),
)
def test_any_history_gives_metrics_within_bounds(
    samples: list[Sample], events: list[Event], now: float
) -> None:
    samples.sort(key=lambda one: one.moment.at)
    view = evaluate_baseline(START, samples, events, HOUR, at(now))
    assert view.coverage is None or -1e-9 <= view.coverage <= 1 + 1e-9
    assert view.progress is not None and 0 <= view.progress <= 1
    uptime = metric(view, "uptime").value
    assert uptime is None or -1e-9 <= uptime <= 100 + 1e-9
    if view.state != "complete":
        assert "pass" not in verdicts(view).values()


def test_longest_gap_is_reported() -> None:
    assert evaluate_baseline(START, looks(), [], HOUR, at(3600)).longest_gap is None
    seen = [one for one in looks() if not 600 < START.until(one.moment) < 1500]
    seen = [one for one in seen if not 2400 < START.until(one.moment) < 2700]
    gap = evaluate_baseline(START, seen, [], HOUR, at(3600)).longest_gap
    assert gap == (at(690), 810.0)  # A sample covers one and a half intervals.
    late = evaluate_baseline(START, looks(1800), [], HOUR, at(3600)).longest_gap
    assert late == (at(1890), 1710.0)


def test_missing_worker_samples_are_a_gap_despite_queue_samples() -> None:
    only = [one for one in looks() if one.monitor == "queue"]
    assert evaluate_baseline(START, only, [], HOUR, at(3600)).longest_gap == (at(0), 3600.0)


@pytest.mark.parametrize("seconds", [1800, 60])
def test_run_continues_after_a_reboot(seconds: float) -> None:
    """A new boot restarts the ticks. Earlier samples count; the time between is unknown."""
    back = at(seconds + 200).at

    def seen(one: Sample) -> Sample:
        if START.until(one.moment) <= seconds:
            return one
        return replace(one, moment=Moment(one.moment.at, one.moment.at - back + 20.0, "b2"))

    whole = [seen(one) for one in looks() if not seconds < START.until(one.moment) < seconds + 200]
    now = Moment(at(3600).at, at(3600).at - back + 20.0, "b2")
    view = evaluate_baseline(START, [*whole, canary(30, 0.3)], [], HOUR, now)
    assert (view.state, view.progress) == ("complete", 1.0)
    assert view.coverage is not None and 0.95 < view.coverage < 0.97
    assert (metric(view, "uptime").value, metric(view, "success_rate").n) == (100.0, 600)
    assert view.longest_gap is not None and abs(view.longest_gap[0].at - at(seconds + 90).at) < 1
