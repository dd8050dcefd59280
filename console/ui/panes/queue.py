"""Depth, what is under way, what came of it."""

from __future__ import annotations

import math

from console.core.metrics.task_outcomes import typed
from console.core.model import HealthState, MetricView, QueueView, Snapshot
from console.core.text.formatting import coarse, visible
from console.ui.render.state_labels import ago, by_now, calm, health
from console.ui.render.styled_lines import Frame, Line, Span, fit, line, whole

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


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """Depth and results; the state before them where all is not well, after them where it is."""
    queue = snapshot.queue
    if not queue.url:
        return [line(("no queue is configured", "muted"))]
    seen = ago(snapshot.moment, queue.seen)
    wide, width = frame.width >= 50, frame.width
    state = line(
        *whole(
            (health(queue.state), ("  ", "")),
            ((seen, "muted"), (visible(queue.url, 200), "muted")),
            width,
        )
    )
    lines = [
        _figure(
            "waiting",
            queue.size,
            [*_waiting(snapshot), (_classes(queue), "muted")],
            width,
        ),
        _figure(
            "in flight",
            queue.inflight,
            [
                (
                    f"for {_age(queue.lease_s, snapshot)}" if queue.inflight else "",
                    "",
                ),
                (f"latency {_seconds(queue.latency_s)}", "muted"),
            ],
            width,
        ),
        _figure(
            "done",
            queue.completed,
            [
                (f"{_percent(queue)}{' success' if wide else ''}", ""),
                (f"{_count(queue.failed)} failed", "warn" if queue.failed else "muted"),
                *_budget(snapshot, wide),
            ],
            width,
        ),
    ]
    lines += _errors(queue)
    if queue.state is HealthState.OK and not queue.reason:
        return [*lines, state]
    return [state, *([line((queue.reason, "warn"))] if queue.reason else ()), *lines]


def _errors(queue: QueueView) -> list[Line]:
    """Which of the last tasks failed and with which error, most frequent first."""
    told = [
        line(
            (fit(f"{times} ×", 10, right=True), "bad"),
            f"  {typed(kind)}",
            (error, "warn"),
            item=True,
        )
        for kind, error, times in queue.failures
    ]
    return told + ([line((queue.note, "muted"))] if queue.note else [])


def _figure(name: str, value: int | None, facts: list[Span], width: int) -> Line:
    head = ((fit(name, 10), "muted"), (fit(_count(value), 5, right=True), "strong"), ("  ", ""))
    return line(*whole(head, facts, width))


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """State, depth, pace, how many more may fail, success."""
    queue = snapshot.queue
    if not queue.url:
        return line(("no queue is configured", "muted"))
    facts = (
        (queue.reason, "warn"),
        (f"waiting {_count(queue.size)}", ""),
        *_waiting(snapshot),
        *_budget(snapshot, True),
        (f"success {_percent(queue)}", ""),
        (f"in flight {_count(queue.inflight)}", ""),
        (f"latency {_seconds(queue.latency_s)}", "muted"),
    )
    return line(*whole((health(queue.state), ("  ", "")), facts, frame.folded))


def _age(seconds: float | None, snapshot: Snapshot) -> str:
    now_s = by_now(seconds, snapshot.queue.seen, snapshot.moment)
    return "?" if now_s is None else calm(now_s)


def _waiting(snapshot: Snapshot) -> list[Span]:
    """The oldest one's age and the pace; that there is none comes first."""
    queue = snapshot.queue
    idle = bool(queue.size) and queue.drain_s is None
    oldest = f"oldest {_age(queue.oldest_s, snapshot)}" if queue.size else ""
    facts = [(oldest, ""), (_drain(queue), "warn" if idle else "")]
    return facts[::-1] if idle else facts


def _classes(queue: QueueView) -> str:
    """How many wait in each class of which some do, unless all do in the normal one."""
    classes = (("urgent", queue.urgent), ("normal", queue.normal), ("low", queue.low))
    told = [f"{count} {name}" for name, count in classes if count]
    return ", ".join(told) if queue.urgent or queue.low else ""


def _drain(queue: QueueView) -> str:
    """How long what waits will take at the pace of the last minutes of work, or why it waits."""
    if not queue.size:
        return "nothing waits" if queue.size == 0 else ""
    if queue.drain_s is None:
        return queue.idle or "none finished"
    return f"empty in {coarse(queue.drain_s)}"


def _budget(snapshot: Snapshot, wide: bool) -> list[Span]:
    """How many more may fail, while a baseline has a target for it."""
    for metric in snapshot.baseline.metrics:
        left = failures_left(metric)
        if metric.name == "success_rate" and left is not None:
            style = "bad" if left < 0 else "warn" if left == 0 else "muted"
            return [(f"{max(0, left)} {'may fail' if wide else 'left'}", style)]
    return []


def failures_left(metric: MetricView) -> int | None:
    """Of the tasks that have ended, how many more could have failed within the target."""
    sense, _, figure = metric.target.partition(" ")
    try:
        share = float(figure) / 100.0
    except ValueError:
        return None
    if not sense.startswith(">") or metric.value is None or not 0 < share <= 1 or not metric.n:
        return None
    failed = metric.n * (1 - metric.value / 100.0)
    return math.floor(metric.n * (1 - share) - failed + 1e-6)


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


def _percent(queue: QueueView) -> str:
    return "?" if queue.success_rate is None else f"{queue.success_rate:.1f} %"


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f} s"
