"""Queue pane: waiting tasks, tasks in flight, finished and failed tasks."""

from __future__ import annotations

import math

from console.core.metrics.task_outcomes import task_type_prefix
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import MetricView, QueueView
from console.core.text.formatting import format_coarse_duration, sanitize_text
from console.ui.render.state_labels import age_by_now, format_age, format_ago, health_label
from console.ui.render.styled_lines import (
    PaneContext,
    Span,
    StyledLine,
    fit_facts,
    pad_text,
    styled_line,
)

TITLE = "Queue"
KEY = "3"
SLOT = "right"
ROWS = (3, 3)
HELP = (
    "Waiting tasks, the oldest one's age, and how long they will take at the pace of the last ten "
    "minutes of work; tasks in flight; finished and failed ones, the success rate over the last "
    "hour, and how many more may fail before the baseline's target is missed; types and errors of "
    "the last 20 tasks that failed."
)


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return the counts and the failures; the state comes last if it is OK, otherwise first."""
    queue = snapshot.queue
    if not queue.url:
        return [styled_line(("no queue is configured", "muted"))]
    age = format_ago(snapshot.moment, queue.seen)
    wide, width = context.width >= 50, context.width
    state = styled_line(
        *fit_facts(
            (health_label(queue.state), ("  ", "")),
            ((age, "muted"), (sanitize_text(queue.url, 200), "muted")),
            width,
        )
    )
    lines = [
        _count_row(
            "waiting",
            queue.size,
            [*_waiting_facts(snapshot), (_priority_counts(queue), "muted")],
            width,
        ),
        _count_row(
            "in flight",
            queue.inflight,
            [
                (
                    f"for {_format_age_by_now(queue.lease_s, snapshot)}" if queue.inflight else "",
                    "",
                ),
                (f"latency {_format_seconds(queue.latency_s)}", "muted"),
            ],
            width,
        ),
        _count_row(
            "done",
            queue.completed,
            [
                (f"{_format_success_rate(queue)}{' success' if wide else ''}", ""),
                (f"{_format_count(queue.failed)} failed", "warn" if queue.failed else "muted"),
                *_failure_budget(snapshot, wide),
            ],
            width,
        ),
    ]
    lines += _failure_rows(queue)
    if queue.state is HealthState.OK and not queue.reason:
        return [*lines, state]
    return [state, *([styled_line((queue.reason, "warn"))] if queue.reason else ()), *lines]


def _failure_rows(queue: QueueView) -> list[StyledLine]:
    """Return a row for each task type and error among the last tasks, most frequent first."""
    rows = [
        styled_line(
            (pad_text(f"{times} ×", 10, align_right=True), "bad"),
            f"  {task_type_prefix(task_type)}",
            (error, "warn"),
            is_item=True,
        )
        for task_type, error, times in queue.failures
    ]
    return rows + ([styled_line((queue.results_error, "muted"))] if queue.results_error else [])


def _count_row(name: str, value: int | None, facts: list[Span], width: int) -> StyledLine:
    prefix = (
        (pad_text(name, 10), "muted"),
        (pad_text(_format_count(value), 5, align_right=True), "strong"),
        ("  ", ""),
    )
    return styled_line(*fit_facts(prefix, facts, width))


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line: state, waiting tasks, pace, failure budget, success rate, latency."""
    queue = snapshot.queue
    if not queue.url:
        return styled_line(("no queue is configured", "muted"))
    facts = (
        (queue.reason, "warn"),
        (f"waiting {_format_count(queue.size)}", ""),
        *_waiting_facts(snapshot),
        *_failure_budget(snapshot, True),
        (f"success {_format_success_rate(queue)}", ""),
        (f"in flight {_format_count(queue.inflight)}", ""),
        (f"latency {_format_seconds(queue.latency_s)}", "muted"),
    )
    return styled_line(
        *fit_facts((health_label(queue.state), ("  ", "")), facts, context.summary_width)
    )


def _format_age_by_now(seconds: float | None, snapshot: Snapshot) -> str:
    now_s = age_by_now(seconds, snapshot.queue.seen, snapshot.moment)
    return "?" if now_s is None else format_age(now_s)


def _waiting_facts(snapshot: Snapshot) -> list[Span]:
    """Return the age of the oldest waiting task and the time until the queue is empty.

    If tasks wait and none is finished, that comes first.
    """
    queue = snapshot.queue
    idle = bool(queue.size) and queue.drain_s is None
    oldest = f"oldest {_format_age_by_now(queue.oldest_s, snapshot)}" if queue.size else ""
    facts = [(oldest, ""), (_drain_estimate(queue), "warn" if idle else "")]
    return facts[::-1] if idle else facts


def _priority_counts(queue: QueueView) -> str:
    """Return the number of waiting tasks by priority, or "" if all have normal priority."""
    classes = (("urgent", queue.urgent), ("normal", queue.normal), ("low", queue.low))
    counts = [f"{count} {name}" for name, count in classes if count]
    return ", ".join(counts) if queue.urgent or queue.low else ""


def _drain_estimate(queue: QueueView) -> str:
    """Return the time until the queue is empty, or the reason why no task is finished.

    The time is an estimate from the pace of the last minutes of work.
    """
    if not queue.size:
        return "nothing waits" if queue.size == 0 else ""
    if queue.drain_s is None:
        return queue.idle_reason or "none finished"
    return f"empty in {format_coarse_duration(queue.drain_s)}"


def _failure_budget(snapshot: Snapshot, wide: bool) -> list[Span]:
    """Return how many more tasks may fail within the baseline's target for the success rate.

    Without such a target the list is empty.
    """
    for metric in snapshot.baseline.metrics:
        remaining = failures_left(metric)
        if metric.name == "success_rate" and remaining is not None:
            style = "bad" if remaining < 0 else "warn" if remaining == 0 else "muted"
            return [(f"{max(0, remaining)} {'may fail' if wide else 'left'}", style)]
    return []


def failures_left(metric: MetricView) -> int | None:
    """Return how many more of the tasks that have ended could have failed within the target.

    The number is negative if the target is missed. None: the target is not a minimum share, or
    nothing was measured.
    """
    comparison, _, figure = metric.target.partition(" ")
    try:
        share = float(figure) / 100.0
    except ValueError:
        return None
    if not comparison.startswith(">") or metric.value is None or not 0 < share <= 1 or not metric.n:
        return None
    failed = metric.n * (1 - metric.value / 100.0)
    return math.floor(metric.n * (1 - share) - failed + 1e-6)


def _format_count(value: int | None) -> str:
    return "?" if value is None else str(value)


def _format_success_rate(queue: QueueView) -> str:
    return "?" if queue.success_rate is None else f"{queue.success_rate:.1f} %"


def _format_seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f} s"
