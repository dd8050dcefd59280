"""Who watches the watchers: each monitor's age against its due time."""

from __future__ import annotations

from console.core.model import HealthState, MonitorView, Snapshot
from console.core.text import coarse
from console.ui.paint import Frame, Line, fit, line
from console.ui.words import calm, health, runner, until

TITLE = "Monitors"
KEY = "2"
SLOT = "left"
ROWS = (5, 6)
HELP = (
    "When each monitor last looked, when it looks again, what it found. `overdue` means that "
    "nobody looked when somebody should have. The last line says who runs them."
)


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """A row for each monitor, and who runs them."""
    rows = [_row(monitor, snapshot) for monitor in snapshot.monitors]
    who = line(runner(snapshot))
    alone = not (snapshot.daemon.running or snapshot.daemon.here)
    return [who, *rows] if alone else [*rows, who]


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """What is not well, or that all is."""
    wrong = [
        monitor
        for monitor in snapshot.monitors
        if monitor.health.state not in (HealthState.OK, HealthState.OFF)
    ]
    if not wrong:
        word = f"● {len(snapshot.monitors)} ok  " if snapshot.monitors else "○ none  "
        return line((word, "ok" if snapshot.monitors else "muted"), runner(snapshot))
    spans = [part for one in wrong for part in ((f"{one.name} ", ""), health(one.health.state))]
    return line(*spans, "  ", runner(snapshot))


def _row(monitor: MonitorView, snapshot: Snapshot) -> Line:
    state, style = health(monitor.health.state)
    off = monitor.health.state is HealthState.OFF
    last = snapshot.moment.since(monitor.last.moment) if monitor.last else None
    age = "-" if off else "never" if last is None else calm(last)
    due = "-" if off else until(snapshot.moment, monitor.next_run)
    result = monitor.result if monitor.health.state is HealthState.OK else ""
    words = result or monitor.health.reason or monitor.result
    return line(
        (fit(monitor.name, 10), "strong"),
        (fit(state, 11), style),
        (fit(age, 6, right=True), ""),
        (fit(f" / {coarse(monitor.every_s)}", 7), "muted"),
        (fit(due, 12), "muted" if due.startswith(("in", "-")) else "warn"),
        (words, "muted" if monitor.health.state is HealthState.OK else style),
        item=True,
    )
