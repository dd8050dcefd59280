"""The baseline's early outlook, the thresholds it learns and the result document."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.baseline import early_decision
from console.core.baseline.evaluation import BaselineTargets, evaluate_baseline
from console.core.baseline.run_document import (
    compare_results,
    conclusion,
    current_view,
    describe_changes,
    result_document,
    run_started_at,
    run_targets,
    view_from_document,
)
from console.core.baseline.thresholds import (
    Thresholds,
    effective_thresholds,
    learn_thresholds,
    parse_thresholds,
)
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MetricView
from console.core.records import replace

START = Moment(1_762_165_640.0, 1000.0, "b1")
HOUR = BaselineTargets(hours=1, worker_every_s=60, queue_every_s=60, canary_every_s=300)
RUN = {"started": [START.at, START.tick, START.boot], "hours": 1.0}


def at(seconds: float) -> Moment:
    return START.plus(seconds)


def queue(seconds: float, good: int, bad: int, size: int = 0) -> Sample:
    data = {"size": size, "successful": good, "failed": bad, "problem": None}
    return Sample("queue", at(seconds), data)


def canary(seconds: float, latency_s: float | None) -> Sample:
    return Sample("canary", at(seconds), {"ok": latency_s is not None, "latency_s": latency_s})


def looks(until: int = 3600) -> list[Sample]:
    found = []
    for t in range(0, until + 1, 60):
        found.append(Sample("worker", at(t), {"instances": [{"pid": 7}]}))
        found.append(queue(t, t // 6, 0, 1))
    return found


# --- early outlook --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "ended", "words"),
    [
        (0, 0, ""),
        (95, 95, "passes unless 6 more tasks fail"),
        (19, 20, "passes unless 1 more task fails"),
        (18, 20, "fails unless 20 more tasks succeed"),
    ],
)
def test_share_outlook_counts_the_tasks_that_may_still_fail(
    good: int, ended: int, words: str
) -> None:
    assert early_decision.share_outlook(good, ended, 95) == words


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 99))
def test_share_outlook_is_exact(good: int, bad: int, target: int) -> None:
    words = early_decision.share_outlook(good, good + bad, target)
    if words:
        number = int("".join(char for char in words if char.isdigit()))
        gain, loss = (0, number) if words.startswith("passes") else (number, 0)

        def met(more_good: int, more_bad: int) -> bool:
            whole = good + bad + more_good + more_bad
            return 100 * (good + more_good) >= target * whole

        assert met(gain, loss) is (gain > 0)
        assert met(max(0, gain - 1), max(0, loss - 1)) is (loss > 0)


@pytest.mark.parametrize(
    ("n_slow", "n", "to_come", "words"),
    [
        (0, 0, 0, ""),
        (0, 6, 6, "passes unless 1 more canary is slow"),
        (1, 6, 6, "fails at this pace: 1 slow where 0 of 12 may be"),
        (0, 20, 40, "passes unless 4 more canaries are slow"),
        (0, 39, 1, "passes whatever comes"),
    ],
)
def test_latency_outlook_counts_the_canaries_that_may_still_be_slow(
    n_slow: int, n: int, to_come: int, words: str
) -> None:
    assert early_decision.latency_outlook(n_slow, n, to_come) == words


def test_downtime_and_restart_outlooks() -> None:
    assert early_decision.downtime_outlook(0, 0) == "passes unless the worker is away once"
    assert early_decision.downtime_outlook(10, 60) == "passes unless the worker is away 50 s more"
    assert early_decision.downtime_outlook(0, 216) == "passes unless the worker is away 4 min more"
    assert early_decision.count_outlook(0, 0, "restart") == "passes unless there is 1 more restart"
    assert (
        early_decision.count_outlook(1, 3, "restart") == "passes unless there are 3 more restarts"
    )


def notes(view: BaselineView) -> dict[str, str]:
    return {one.name: one.note for one in view.metrics}


def test_metric_notes_contain_the_outlook() -> None:
    samples = [*looks(1800), canary(300, 0.3)]
    shown = notes(evaluate_baseline(START, samples, [], HOUR, at(1800)))
    assert shown["success_rate"].endswith("; passes unless 16 more tasks fail")
    assert shown["latency_s"].endswith("passes unless 1 more canary is slow")
    assert shown["restarts"] == "passes unless there is 1 more restart"
    assert shown["queue_size"] == "largest; passes unless 10 wait at once"


def test_failed_metric_notes_name_the_time() -> None:
    samples = [*looks(600), queue(660, 100, 0, 12)]
    one, two = Identity(7, 1, "b1"), Identity(8, 1, "b1")
    events = [
        Event(EventKind.DIED, at(600), "worker", identity=one),
        Event(EventKind.STARTED, at(605), "worker", identity=two),
    ]
    shown = notes(evaluate_baseline(START, samples, events, HOUR, at(700), zone=UTC))
    assert shown["restarts"] == "fails already: a restart at 10:37"
    assert shown["queue_size"] == "largest; fails already: 12 at 10:38"
    assert shown["uptime"].startswith("fails already: away ")
    done = notes(evaluate_baseline(START, samples, events, HOUR, at(3600), zone=UTC))
    assert done["restarts"] == "a restart at 10:37"


def test_invalid_run_has_no_outlook() -> None:
    view = evaluate_baseline(
        START, looks(1800), [], HOUR, at(1800), invalid_reason="baseline.latency_s was 5, is 9"
    )
    assert (view.state, view.reason) == ("invalid", "baseline.latency_s was 5, is 9")
    assert not any("passes" in note for note in notes(view).values())
    assert conclusion(view) == "invalid"


# --- learnt thresholds ----------------------------------------------------------------------


def hours(rates: list[tuple[int, int]]) -> list[Sample]:
    """Return two samples per hour, with the given tasks succeeded and failed between them."""
    found, good, bad = [], 0, 0
    for index, (more, less) in enumerate(rates):
        found.append(queue(3600 * index, good, bad))
        good, bad = good + more, bad + less
        found.append(queue(3600 * index + 3000, good, bad))
    return found


def test_learn_thresholds_from_a_good_run() -> None:
    latencies = [canary(60 * i, 0.3 + i / 100) for i in range(10)]
    learnt = learn_thresholds([*hours([(98, 2), (96, 4), (94, 6)]), *latencies], START)
    assert learnt.success_rate == pytest.approx(96 - 2 * 2)
    assert learnt.latency_s == pytest.approx(0.39 + 2 * 0.030277, abs=1e-3)
    assert (learnt.queue_normal, learnt.queue_warning) == (5, 20)
    assert (learnt.hours, learnt.canaries) == (3, 10)


def test_learnt_success_rate_is_at_least_seventy_percent() -> None:
    assert learn_thresholds(hours([(90, 10), (20, 80)]), START).success_rate == 70.0


def test_too_few_samples_leave_default_thresholds() -> None:
    assert learn_thresholds([], START) == Thresholds()
    assert learn_thresholds([canary(0, 0.3), canary(60, None)], START).latency_s is None


def test_learnt_queue_thresholds_widen_for_a_busier_queue() -> None:
    learnt = learn_thresholds([queue(60 * i, 0, 0, 8) for i in range(10)], START)
    assert (learnt.queue_normal, learnt.queue_warning) == (8, 32)


def test_parse_thresholds_ignores_malformed_values() -> None:
    assert (
        parse_thresholds({"thresholds": {"success_rate": "x", "queue_normal": -1}}) == Thresholds()
    )
    document = {"thresholds": {"success_rate": 92.5, "latency_s": 0.5, "queue_normal": 7}}
    assert parse_thresholds(document) == Thresholds(92.5, 0.5, 7)


def test_configured_thresholds_override_learnt_ones() -> None:
    assert effective_thresholds(None) is None
    learnt = Thresholds(92.0, 0.5, 8, 32)
    assert effective_thresholds(learnt) is learnt
    assert effective_thresholds(learnt, latency_s=2.0, queue_warning=50) == Thresholds(
        92.0, 2.0, 8, 50
    )
    assert effective_thresholds(None, success_rate=80.0) == Thresholds(80.0)


@given(
    st.lists(
        st.builds(queue, st.floats(0, 9e4), st.integers(0, 99), st.integers(0, 99))
        | st.builds(canary, st.floats(0, 9e4), st.none() | st.floats(0, 60)),
        max_size=40,
    )
)
def test_learnt_thresholds_stay_within_bounds_for_any_run(samples: list[Sample]) -> None:
    learnt = learn_thresholds(sorted(samples, key=lambda one: one.moment.at), START)
    assert learnt.success_rate is None or 70 <= learnt.success_rate <= 100
    assert learnt.latency_s is None or learnt.latency_s >= 0
    assert learnt.queue_normal < learnt.queue_warning


# --- the run as a stored fact and as a document ---------------------------------------------


def finished() -> BaselineView:
    return evaluate_baseline(START, [*looks(), canary(900, 0.3)], [], HOUR, at(3600))


def test_result_document_round_trips() -> None:
    view = finished()
    document = result_document(view, Thresholds(92.0), at(3600))
    assert document["conclusion"] == "pass"
    assert document["thresholds"]["success_rate"] == 92.0
    assert "latency_s" not in document["thresholds"]
    again = view_from_document(document, START, 3600.0)
    assert again.metrics == view.metrics and again.state == "complete"


def test_current_view_prefers_the_running_baseline() -> None:
    last = {**RUN, "result": result_document(finished(), None, at(3600))}
    assert current_view(None, None, [], [], HOUR, at(1)).state == "off"
    assert current_view(None, last, [], [], HOUR, at(9999)).state == "complete"
    assert current_view(RUN, last, looks(60), [], HOUR, at(60)).state == "collecting"
    stopped = {**RUN, "result": {"state": "collecting"}}
    assert current_view(None, stopped, [], [], HOUR, at(60)).state == "off"
    spoilt = current_view({**RUN, "spoilt": ["queue.url was a, is b"]}, None, [], [], HOUR, at(1))
    assert spoilt.reason.startswith("queue.url was a, is b")


@pytest.mark.parametrize("run", [None, [], {}, {"started": 3}, {"started": ["x", 1, ""]}])
def test_malformed_run_facts_are_ignored(run: Any) -> None:
    assert run_started_at(run) is None
    assert current_view(run, run, [], [], HOUR, at(1)) == BaselineView()


def test_run_targets_keep_the_length_of_the_run() -> None:
    assert run_targets({**RUN, "hours": 7.5}, HOUR).length_s == 7.5 * 3600
    assert run_targets({**RUN, "hours": "x"}, HOUR) == HOUR


def test_run_targets_keep_recorded_conditions_and_skip_invalid_ones() -> None:
    kept = {"baseline.latency_s": 0.5, "baseline.restarts": 0, "queue.url": "x"}
    found = run_targets({**RUN, "conditions": kept}, replace(HOUR, latency_s=9.0, restarts=3))
    assert found == replace(HOUR, hours=found.hours, latency_s=0.5, restarts=0)
    for wrong in ("x", None, True, -1, 0, float("nan")):
        broken = {**RUN, "conditions": {"baseline.canary_every_s": wrong}}
        assert run_targets(broken, HOUR).canary_every_s == HOUR.canary_every_s


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [("ppppp", "pass"), ("ppfpu", "fail"), ("ppppu", "undecided")],
)
def test_conclusion_summarizes_the_metric_verdicts(verdicts: str, word: str) -> None:
    names = {"p": "pass", "f": "fail", "u": "undecided"}
    metrics = tuple(MetricView("x", 1, "", "", names[one]) for one in verdicts)
    assert conclusion(BaselineView("complete", metrics=metrics)) == word


def test_describe_changes_lists_changed_conditions() -> None:
    before = {"baseline.latency_s": 5.0, "roles.worker.command": "a1", "queue.url": "u"}
    after = {"baseline.latency_s": 9.0, "roles.worker.command": "b2", "queue.url": "u"}
    assert describe_changes(before, after) == (
        "baseline.latency_s was 5.0, is 9.0", "roles.worker.command changed",
    )  # fmt: skip


def test_compare_results_rates_each_metric() -> None:
    def document(rate: float, latency_s: float | None) -> dict[str, Any]:
        return {
            "metrics": [
                {"name": "success_rate", "value": rate, "target": ">= 95"},
                {"name": "latency_s", "value": latency_s, "target": "< 5"},
            ]
        }

    words = [one.word for one in compare_results(document(96, 0.3), document(99, 0.4))]
    assert words == ["better", "worse"]
    words = [one.word for one in compare_results(document(96, None), document(96, 0.4))]
    assert words == ["same", "unknown"]
    assert compare_results(None, "x") == ()
