"""Evaluates a baseline run: its five metrics, and the observed part of its time.

Unobserved time is unknown: it neither passes nor fails a metric, but reduces the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo

from console.core.baseline import early_decision
from console.core.baseline.coverage import (
    TimeWindow,
    find_longest_gap,
    observed_seconds,
    up_and_down_seconds,
)
from console.core.metrics.queue_metrics import count_ended_tasks
from console.core.metrics.statistics import percentile, wilson_interval
from console.core.model.events import Event
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MetricView
from console.core.records import Record, replace
from console.core.supervision.restarts import iter_restarts
from console.core.text.formatting import format_clock, format_duration
from console.core.text.json_values import as_count, as_number

MEASURED_ROLE = "worker"


class BaselineTargets(Record, frozen=True):
    """Length and targets of a baseline run, and the monitors' intervals in seconds."""

    hours: float = 6.0
    success_rate: float = 95.0
    latency_s: float = 5.0
    uptime: float = 100.0
    queue_size: int = 10
    restarts: int = 0
    coverage: float = 95.0
    worker_every_s: float = 300.0
    queue_every_s: float = 10.0
    canary_every_s: float = 1800.0

    @property
    def length_s(self) -> float:
        return self.hours * 3600.0


class _BaselineRun(TimeWindow, frozen=True):
    """A baseline run up to now."""

    targets: BaselineTargets
    zone: tzinfo | None = None
    is_invalid: bool = False
    """True if no further sample can make the run valid."""

    @property
    def is_complete(self) -> bool:
        return self.elapsed_s >= self.targets.length_s

    def format_note(self, verdict: str, evidence: str, failure: str, outlook: str) -> str:
        """Return the evidence and the early decision: why the run fails, or would still fail."""
        if verdict == "fail":
            decision = failure if self.is_complete or not failure else f"fails already: {failure}"
        else:
            decision = "" if self.is_complete or self.is_invalid else outlook
        return "; ".join(filter(None, (evidence, decision)))

    def format_minute(self, moment: Moment) -> str:
        """Return the time to the minute, for display."""
        return format_clock(moment, self.zone)[:5]


def evaluate_baseline(
    started: Moment,
    samples: Sequence[Sample],
    events: Sequence[Event],
    targets: BaselineTargets,
    now: Moment,
    invalid_reason: str = "",
    zone: tzinfo | None = None,
) -> BaselineView:
    """Return the run that began at `started`, from its samples and events, oldest first.

    `samples` may include some from shortly before the start: they show the state at the start.
    `invalid_reason` is why the run proves nothing, whatever was measured. `zone`: None is the
    machine's zone.
    """
    run = _BaselineRun(started, min(now.since(started), targets.length_s), targets, zone)
    worker = [sample for sample in samples if sample.monitor == "worker"]
    queue = [sample for sample in samples if sample.monitor == "queue"]
    events_inside = [
        event for event in events if event.role == MEASURED_ROLE and run.contains(event.moment)
    ]
    up_s, down_s = up_and_down_seconds(worker, events_inside, targets.worker_every_s, run)
    observed_s = (up_s + down_s + observed_seconds(queue, targets.queue_every_s, run)) / 2
    reason = "; ".join(
        filter(None, (invalid_reason, _coverage_shortfall(run.elapsed_s - observed_s, targets)))
    )
    run = replace(run, is_invalid=bool(reason))
    gaps = (
        find_longest_gap(worker, targets.worker_every_s, run),
        find_longest_gap(queue, targets.queue_every_s, run),
    )
    gap = max((gap for gap in gaps if gap), key=lambda gap: gap[1], default=None)
    metrics = (
        _success_metric(queue, run),
        _latency_metric(samples, run),
        _uptime_metric(up_s, down_s, sum(run.contains(sample.moment) for sample in worker), run),
        _queue_size_metric(queue, run),
        _restart_metric(events_inside, run),
    )
    return BaselineView(
        state="invalid" if reason else "complete" if run.is_complete else "collecting",
        started=started,
        checkpoint=started.plus(targets.length_s),
        progress=run.elapsed_s / targets.length_s,
        coverage=observed_s / run.elapsed_s if run.elapsed_s else None,
        longest_gap=gap and (started.plus(gap[0]), gap[1]),
        metrics=tuple(_without_pass(metric) for metric in metrics) if reason else metrics,
        reason=reason,
    )


def _without_pass(metric: MetricView) -> MetricView:
    """Return `metric` with `pass` replaced by `undecided`: an invalid run proves no target met."""
    if metric.verdict != "pass":
        return metric
    return replace(metric, verdict="undecided")


def _coverage_shortfall(unobserved_s: float, targets: BaselineTargets) -> str:
    """Return why the coverage cannot reach its target any more; empty if it can."""
    if unobserved_s <= targets.length_s * (1 - targets.coverage / 100) + 1e-6:
        return ""
    return (
        f"{unobserved_s / 60:.0f} min unobserved: under {targets.coverage:g} %"
        f" of {targets.hours:g} h can be covered"
    )


# --- the five metrics -----------------------------------------------------------------------


def _success_metric(queue: Sequence[Sample], run: _BaselineRun) -> MetricView:
    """Return the share of ended tasks that succeeded, from counters that may restart."""
    good, ended = count_ended_tasks(sample for sample in queue if run.contains(sample.moment))
    share = 100.0 * good / ended if ended else None
    target = run.targets.success_rate
    interval = wilson_interval(good, ended)
    evidence = (
        f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else ""
    )
    has_failed = target >= 100 and good < ended
    met = share is not None and share >= target
    verdict = "fail" if has_failed else _verdict(met, share, run)
    failure = f"{ended - good:.0f} of {ended:.0f} failed"
    note = run.format_note(
        verdict, evidence, failure, early_decision.share_outlook(good, ended, target)
    )
    return MetricView("success_rate", share, "%", f">= {target:g}", verdict, int(ended), note)


def _latency_metric(samples: Sequence[Sample], run: _BaselineRun) -> MetricView:
    """Return the 95th percentile of the canaries' latencies.

    A canary that never returned is slower than any other.
    """
    canaries = [
        sample
        for sample in samples
        if sample.monitor == "canary"
        and sample.error is None
        and run.contains(sample.moment)
        # A sample of a canary that still waits is not another canary.
        and sample.data.get("waits_s") is None
    ]
    latencies = [
        as_number(sample.data.get("latency_s")) if sample.data.get("ok") is True else None
        for sample in canaries
    ]
    values = [math.inf if value is None else value for value in latencies]
    p95 = percentile(values, 95)
    lost = values.count(math.inf)
    target = run.targets.latency_s
    verdict = _verdict(p95 is not None and p95 < target, p95, run)
    value = p95 if p95 is not None and math.isfinite(p95) else None
    slow = sum(value >= target for value in values)
    remaining = int((run.targets.length_s - run.elapsed_s) // run.targets.canary_every_s)
    evidence = [
        f"p95, nearest rank{_other_percentiles(values)}",
        f"{lost} without an answer" if lost else "",
    ]
    failure, outlook = (
        f"{slow} of {len(values)} slow",
        early_decision.latency_outlook(slow, len(values), remaining),
    )
    note = run.format_note(verdict, "; ".join(filter(None, evidence)), failure, outlook)
    return MetricView("latency_s", value, "s", f"< {target:g}", verdict, len(values), note)


def _other_percentiles(values: Sequence[float]) -> str:
    """Return the median and the 99th percentile as text, where they are known."""
    percentiles = [(share, percentile(values, share)) for share in (50, 99)]
    return "".join(f", p{s} {v:.2f}" for s, v in percentiles if v is not None and math.isfinite(v))


def _uptime_metric(up_s: float, down_s: float, n: int, run: _BaselineRun) -> MetricView:
    observed_s = up_s + down_s
    share = 100.0 * up_s / observed_s if observed_s else None
    target = run.targets.uptime
    has_failed = 100.0 * down_s / run.targets.length_s > 100.0 - target + 1e-9
    met = share is not None and share >= target - 1e-9
    unknown = 100.0 * (1 - observed_s / run.elapsed_s) if run.elapsed_s else 0.0
    verdict = "fail" if has_failed else _verdict(met, share, run)
    outlook = early_decision.downtime_outlook(down_s, run.targets.length_s * (1 - target / 100))
    decided = run.format_note(verdict, "", f"away {_format_downtime(down_s)} in all", outlook)
    note = "; ".join(filter(None, (decided, f"{unknown:.1f} % unknown" if unknown >= 0.05 else "")))
    return MetricView("uptime", share, "%", f">= {target:g}", verdict, n, note)


def _format_downtime(seconds: float) -> str:
    return "under 1s" if 0 < seconds < 1 else format_duration(seconds)


def _queue_size_metric(queue: Sequence[Sample], run: _BaselineRun) -> MetricView:
    sizes = [
        (as_count(sample.data.get("size")), sample)
        for sample in queue
        if run.contains(sample.moment)
    ]
    known_sizes = [(size, sample) for size, sample in sizes if size is not None]
    largest, largest_sample = max(known_sizes, key=lambda pair: pair[0], default=(None, None))
    target = run.targets.queue_size
    has_failed = largest is not None and largest >= target
    verdict = "fail" if has_failed else _verdict(True, largest, run)
    failure = f"{largest} at {run.format_minute(largest_sample.moment)}" if largest_sample else ""
    note = run.format_note(verdict, "largest", failure, f"passes unless {target} wait at once")
    return MetricView("queue_size", largest, "", f"< {target}", verdict, len(known_sizes), note)


def _restart_metric(events: Sequence[Event], run: _BaselineRun) -> MetricView:
    """Return the number of restarts whose death or end was within the run as well."""
    restarts = [*iter_restarts(sorted(events, key=lambda event: run.offset_s(event.moment)))]
    n, target = len(restarts), run.targets.restarts
    verdict = "fail" if n > target else _verdict(True, n, run)
    several = f"{n} restarts, the last" if n > 1 else "a restart"
    failure = f"{several} at {run.format_minute(restarts[-1].moment)}" if restarts else ""
    note = run.format_note(verdict, "", failure, early_decision.count_outlook(n, target, "restart"))
    return MetricView("restarts", n, "", f"<= {target}", verdict, n, note)


def _verdict(met: bool, value: float | None, run: _BaselineRun) -> str:
    """Return the verdict; `undecided` until the run is complete, or without a value."""
    if not run.is_complete or value is None:
        return "undecided"
    return "pass" if met else "fail"
