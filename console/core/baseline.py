"""The normal baseline: what a stretch of hours showed of the five metrics, and how much was seen.

Time that nobody observed is unknown: it neither passes nor fails a metric, it costs coverage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from console.core.foreign import count, number
from console.core.model import BaselineView, Event, EventKind, MetricView, Moment, Sample
from console.core.stats import increases, percentile, wilson
from console.core.window import GONE, Window, observed, presence

ROLE = "worker"


@dataclass(frozen=True, slots=True)
class BaselineTargets:
    """How long, what must be met, and how often the monitors look (seconds)."""

    hours: float = 6.0
    success_rate: float = 95.0
    latency_s: float = 5.0
    uptime: float = 100.0
    queue_size: int = 10
    restarts: int = 0
    coverage: float = 95.0
    worker_every_s: float = 300.0
    queue_every_s: float = 10.0

    @property
    def length_s(self) -> float:
        return self.hours * 3600.0


@dataclass(frozen=True, slots=True)
class _Run(Window):
    """The run so far."""

    settings: BaselineTargets

    @property
    def complete(self) -> bool:
        return self.elapsed_s >= self.settings.length_s


def baseline(
    started: Moment,
    samples: Sequence[Sample],
    events: Sequence[Event],
    settings: BaselineTargets,
    now: Moment,
) -> BaselineView:
    """The run that began at `started`, from the samples and the ledger of its time, oldest first.

    Samples from shortly before the start are welcome: they tell what held as it began.
    """
    run = _Run(started, min(now.since(started), settings.length_s), settings)
    worker = [one for one in samples if one.monitor == "worker"]
    queue = [one for one in samples if one.monitor == "queue"]
    inside = [event for event in events if event.role == ROLE and run.holds(event.moment)]
    up_s, down_s = presence(worker, inside, settings.worker_every_s, run)
    queue_s = observed(queue, settings.queue_every_s, run)
    seen_s = (up_s + down_s + queue_s) / 2
    unseen_s = run.elapsed_s - seen_s
    invalid = unseen_s > settings.length_s * (1 - settings.coverage / 100) + 1e-6
    metrics = (
        _success(queue, run),
        _latency(samples, run),
        _uptime(up_s, down_s, sum(run.holds(one.moment) for one in worker), run),
        _queue_size(queue, run),
        _restarts(inside, run),
    )
    return BaselineView(
        state="invalid" if invalid else "complete" if run.complete else "collecting",
        started=started,
        checkpoint=started.plus(settings.length_s),
        progress=run.elapsed_s / settings.length_s,
        coverage=seen_s / run.elapsed_s if run.elapsed_s else None,
        metrics=tuple(_unproven(one) for one in metrics) if invalid else metrics,
        reason=_reason(unseen_s, settings) if invalid else "",
    )


def _unproven(metric: MetricView) -> MetricView:
    """What an invalid run cannot say: that a target was met."""
    if metric.verdict != "pass":
        return metric
    return replace(metric, verdict="undecided")


def _reason(unseen_s: float, settings: BaselineTargets) -> str:
    return (
        f"{unseen_s / 60:.0f} min unobserved: under {settings.coverage:g} %"
        f" of {settings.hours:g} h can be covered"
    )


# --- the five metrics -----------------------------------------------------------------------


def _success(queue: Sequence[Sample], run: _Run) -> MetricView:
    """The share of the tasks that ended which succeeded, over counters that may restart."""
    good, ended = tasks_ended(one for one in queue if run.holds(one.moment))
    share = 100.0 * good / ended if ended else None
    target = run.settings.success_rate
    interval = wilson(good, ended)
    note = f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else ""
    verdict = _decided(share is not None and share >= target, share, run)
    return MetricView("success_rate", share, "%", f">= {target:g}", verdict, int(ended), note)


def tasks_ended(queue: Iterable[Sample]) -> tuple[float, float]:
    """(succeeded, ended) over samples, oldest first, of counters that restart with the server."""
    read = ((count(one.data.get("successful")), count(one.data.get("failed"))) for one in queue)
    told = [(good, bad) for good, bad in read if good is not None and bad is not None]
    good, bad = increases(told) if told else (0.0, 0.0)
    return good, good + bad


def _latency(samples: Sequence[Sample], run: _Run) -> MetricView:
    """The canaries' 95th percentile; one that never came back is slower than any."""
    ran = [
        one
        for one in samples
        if one.monitor == "canary" and one.error is None and run.holds(one.moment)
    ]
    known = [
        number(one.data.get("latency_s")) if one.data.get("ok") is True else None for one in ran
    ]
    values = [math.inf if value is None else value for value in known]
    worst = percentile(values, 95)
    lost = values.count(math.inf)
    target = run.settings.latency_s
    verdict = _decided(worst is not None and worst < target, worst, run)
    value = worst if worst is not None and math.isfinite(worst) else None
    note = "p95, nearest rank" + (f"; {lost} without an answer" if lost else "")
    return MetricView("latency_s", value, "s", f"< {target:g}", verdict, len(values), note)


def _uptime(up_s: float, down_s: float, n: int, run: _Run) -> MetricView:
    seen_s = up_s + down_s
    share = 100.0 * up_s / seen_s if seen_s else None
    target = run.settings.uptime
    lost = 100.0 * down_s / run.settings.length_s > 100.0 - target + 1e-9
    met = share is not None and share >= target - 1e-9
    unknown = 100.0 * (1 - seen_s / run.elapsed_s) if run.elapsed_s else 0.0
    note = f"{unknown:.1f} % unknown" if unknown >= 0.05 else ""
    verdict = "fail" if lost else _decided(met, share, run)
    return MetricView("uptime", share, "%", f">= {target:g}", verdict, n, note)


def _queue_size(queue: Sequence[Sample], run: _Run) -> MetricView:
    sizes = [count(one.data.get("size")) for one in queue if run.holds(one.moment)]
    known = [size for size in sizes if size is not None]
    largest = max(known, default=None)
    target = run.settings.queue_size
    lost = largest is not None and largest >= target
    verdict = "fail" if lost else _decided(True, largest, run)
    return MetricView("queue_size", largest, "", f"< {target}", verdict, len(known), "largest")


def _restarts(events: Sequence[Event], run: _Run) -> MetricView:
    """Starts that followed a death or an end within the run."""
    restarts, gone, at = 0, False, None
    for event in sorted(events, key=lambda one: run.when(one.moment)):
        if event.kind in GONE:
            gone = True
        elif event.kind is EventKind.STARTED and gone:
            restarts, gone, at = restarts + 1, False, event.moment
    target = run.settings.restarts
    verdict = "fail" if restarts > target else _decided(True, restarts, run)
    note = f"last after {run.when(at) / 3600:.1f} h" if at else ""
    return MetricView("restarts", restarts, "", f"<= {target}", verdict, restarts, note)


def _decided(met: bool, value: float | None, run: _Run) -> str:
    """A target that can still be met or missed is undecided until the run is complete."""
    if not run.complete or value is None:
        return "undecided"
    return "pass" if met else "fail"
