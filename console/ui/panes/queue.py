"""Depth, what is under way, what came of it."""

from __future__ import annotations

from console.core.model import QueueView, Snapshot
from console.core.text import visible
from console.ui.paint import Frame, Line, fit, line
from console.ui.words import ago, health

TITLE = "Queue"
KEY = "3"
SLOT = "right"
ROWS = (3, 4)
HELP = (
    "Waiting tasks by priority, tasks in flight, finished and failed ones, the success rate over "
    "what the store has seen, and how long a task takes."
)


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """State, depth, results."""
    queue = snapshot.queue
    if not queue.url:
        return [line(("no queue is configured", "muted"))]
    seen = ago(snapshot.moment, queue.seen)
    lines = [
        line(health(queue.state), f"  {visible(queue.url, 200)}  ", (seen, "muted")),
        line(
            (fit("waiting", 10), "muted"),
            (fit(_count(queue.size), 5, right=True), "strong"),
            (f"   urgent {_count(queue.urgent)} · normal {_count(queue.normal)}", "muted"),
            (f" · low {_count(queue.low)}", "muted"),
        ),
        line(
            (fit("in flight", 10), "muted"),
            (fit(_count(queue.inflight), 5, right=True), "strong"),
            (f"   latency {_seconds(queue.latency_s)}", "muted"),
        ),
        line(
            (fit("done", 10), "muted"),
            (fit(_count(queue.completed), 5, right=True), "strong"),
            ("   failed ", "muted"),
            (_count(queue.failed), "warn" if queue.failed else "muted"),
            (" · success ", "muted"),
            (_percent(queue), ""),
        ),
    ]
    return [*lines, line((queue.reason, "warn"))] if queue.reason else lines


def summary(snapshot: Snapshot) -> Line:
    """State, depth and success."""
    queue = snapshot.queue
    if not queue.url:
        return line(("no queue is configured", "muted"))
    return line(
        health(queue.state),
        f"  waiting {_count(queue.size)} · in flight {_count(queue.inflight)}"
        f" · success {_percent(queue)} · latency {_seconds(queue.latency_s)}",
        (f"  {queue.reason}", "warn"),
    )


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)


def _percent(queue: QueueView) -> str:
    return "?" if queue.success_rate is None else f"{queue.success_rate:.1f} %"


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f} s"
