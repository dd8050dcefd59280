"""The normal baseline: what a stretch of hours showed of the five metrics, and how much was seen.

Time that nobody observed is unknown: it neither passes nor fails a metric, it costs coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import tzinfo

from console.core.baseline import early_decision
from console.core.baseline.coverage import Window, longest_gap, observed, presence
from console.core.frozen import frozen, replace
from console.core.metrics.queue_metrics import tasks_ended
from console.core.metrics.statistics import percentile, wilson
from console.core.model import BaselineView, Event, MetricView, Moment, Sample
from console.core.supervision.restarts import restarts
from console.core.text.formatting import clock, duration
from console.core.text.json_values import count, number

ROLE = "worker"


@frozen
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
    canary_every_s: float = 1800.0

    @property
    def length_s(self) -> float:
        return self.hours * 3600.0


@frozen
class _Run(Window):
    """The run so far."""

    settings: BaselineTargets
    zone: tzinfo | None = None
    hopeless: bool = False
    """Nothing that is still to come can make it valid."""

    @property
    def complete(self) -> bool:
        return self.elapsed_s >= self.settings.length_s

    def note(self, verdict: str, evidence: str, failed: str, still: str) -> str:
        """The evidence, and what is decided early: by what it has failed, or would still fail."""
        if verdict == "fail":
            said = failed if self.complete or not failed else f"fails already: {failed}"
        else:
            said = "" if self.complete or self.hopeless else still
        return "; ".join(filter(None, (evidence, said)))

    def clock(self, moment: Moment) -> str:
        """When, to the minute, for people."""
        return clock(moment, self.zone)[:5]


def baseline(
    started: Moment,
    samples: Sequence[Sample],
    events: Sequence[Event],
    settings: BaselineTargets,
    now: Moment,
    spoilt: str = "",
    zone: tzinfo | None = None,
) -> BaselineView:
    """The run that began at `started`, from the samples and the ledger of its time, oldest first.

    Samples from shortly before the start are welcome: they tell what held as it began. `spoilt`:
    why it proves nothing, whatever was measured. `zone`: the machine's own when None.
    """
    run = _Run(started, min(now.since(started), settings.length_s), settings, zone)
    worker = [one for one in samples if one.monitor == "worker"]
    queue = [one for one in samples if one.monitor == "queue"]
    inside = [event for event in events if event.role == ROLE and run.holds(event.moment)]
    up_s, down_s = presence(worker, inside, settings.worker_every_s, run)
    seen_s = (up_s + down_s + observed(queue, settings.queue_every_s, run)) / 2
    reason = "; ".join(filter(None, (spoilt, _unseen(run.elapsed_s - seen_s, settings))))
    run = replace(run, hopeless=bool(reason))
    gaps = (
        longest_gap(worker, settings.worker_every_s, run),
        longest_gap(queue, settings.queue_every_s, run),
    )
    gap = max((one for one in gaps if one), key=lambda one: one[1], default=None)
    metrics = (
        _success(queue, run),
        _latency(samples, run),
        _uptime(up_s, down_s, sum(run.holds(one.moment) for one in worker), run),
        _queue_size(queue, run),
        _restarts(inside, run),
    )
    return BaselineView(
        state="invalid" if reason else "complete" if run.complete else "collecting",
        started=started,
        checkpoint=started.plus(settings.length_s),
        progress=run.elapsed_s / settings.length_s,
        coverage=seen_s / run.elapsed_s if run.elapsed_s else None,
        gap=gap and (started.plus(gap[0]), gap[1]),
        metrics=tuple(_unproven(one) for one in metrics) if reason else metrics,
        reason=reason,
    )


def _unproven(metric: MetricView) -> MetricView:
    """What an invalid run cannot say: that a target was met."""
    if metric.verdict != "pass":
        return metric
    return replace(metric, verdict="undecided")


def _unseen(unseen_s: float, settings: BaselineTargets) -> str:
    """Why too little was observed, whatever is still to come; empty when it is enough."""
    if unseen_s <= settings.length_s * (1 - settings.coverage / 100) + 1e-6:
        return ""
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
    known = f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else ""
    lost = target >= 100 and good < ended
    met = share is not None and share >= target
    verdict = "fail" if lost else _decided(met, share, run)
    failed = f"{ended - good:.0f} of {ended:.0f} failed"
    note = run.note(verdict, known, failed, early_decision.share(good, ended, target))
    return MetricView("success_rate", share, "%", f">= {target:g}", verdict, int(ended), note)


def _latency(samples: Sequence[Sample], run: _Run) -> MetricView:
    """The canaries' 95th percentile; one that never came back is slower than any."""
    ran = [
        one
        for one in samples
        if one.monitor == "canary"
        and one.error is None
        and run.holds(one.moment)
        # A look at one that still waits is no other canary.
        and one.data.get("waits_s") is None
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
    slow = sum(one >= target for one in values)
    to_come = int((run.settings.length_s - run.elapsed_s) // run.settings.canary_every_s)
    told = [f"p95, nearest rank{_beside(values)}", f"{lost} without an answer" if lost else ""]
    failed, still = f"{slow} of {len(values)} slow", early_decision.slow(slow, len(values), to_come)
    note = run.note(verdict, "; ".join(filter(None, told)), failed, still)
    return MetricView("latency_s", value, "s", f"< {target:g}", verdict, len(values), note)


def _beside(values: Sequence[float]) -> str:
    """The median and the 99th percentile, where they are known."""
    told = [(share, percentile(values, share)) for share in (50, 99)]
    return "".join(f", p{s} {v:.2f}" for s, v in told if v is not None and math.isfinite(v))


def _uptime(up_s: float, down_s: float, n: int, run: _Run) -> MetricView:
    seen_s = up_s + down_s
    share = 100.0 * up_s / seen_s if seen_s else None
    target = run.settings.uptime
    lost = 100.0 * down_s / run.settings.length_s > 100.0 - target + 1e-9
    met = share is not None and share >= target - 1e-9
    unknown = 100.0 * (1 - seen_s / run.elapsed_s) if run.elapsed_s else 0.0
    verdict = "fail" if lost else _decided(met, share, run)
    still = early_decision.away(down_s, run.settings.length_s * (1 - target / 100))
    decided = run.note(verdict, "", f"away {_brief(down_s)} in all", still)
    note = "; ".join(filter(None, (decided, f"{unknown:.1f} % unknown" if unknown >= 0.05 else "")))
    return MetricView("uptime", share, "%", f">= {target:g}", verdict, n, note)


def _brief(seconds: float) -> str:
    return "under 1s" if 0 < seconds < 1 else duration(seconds)


def _queue_size(queue: Sequence[Sample], run: _Run) -> MetricView:
    sizes = [(count(one.data.get("size")), one) for one in queue if run.holds(one.moment)]
    known = [(size, one) for size, one in sizes if size is not None]
    largest, longest = max(known, key=lambda pair: pair[0], default=(None, None))
    target = run.settings.queue_size
    lost = largest is not None and largest >= target
    verdict = "fail" if lost else _decided(True, largest, run)
    failed = f"{largest} at {run.clock(longest.moment)}" if longest else ""
    note = run.note(verdict, "largest", failed, f"passes unless {target} wait at once")
    return MetricView("queue_size", largest, "", f"< {target}", verdict, len(known), note)


def _restarts(events: Sequence[Event], run: _Run) -> MetricView:
    """Those whose death or end was within the run, too."""
    found = [*restarts(sorted(events, key=lambda one: run.when(one.moment)))]
    n, target = len(found), run.settings.restarts
    verdict = "fail" if n > target else _decided(True, n, run)
    several = f"{n} restarts, the last" if n > 1 else "a restart"
    failed = f"{several} at {run.clock(found[-1].moment)}" if found else ""
    note = run.note(verdict, "", failed, early_decision.tally(n, target, "restart"))
    return MetricView("restarts", n, "", f"<= {target}", verdict, n, note)


def _decided(met: bool, value: float | None, run: _Run) -> str:
    """A target that can still be met or missed is undecided until the run is complete."""
    if not run.complete or value is None:
        return "undecided"
    return "pass" if met else "fail"
