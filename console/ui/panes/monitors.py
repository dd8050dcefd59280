"""Who watches the watchers: each monitor's age against its due time."""

from __future__ import annotations

from rich.cells import cell_len

from console.core.model import HealthState, MonitorView, Snapshot
from console.core.text.formatting import coarse
from console.ui.render.state_labels import calm, health, runner, until
from console.ui.render.styled_lines import Frame, Line, fit, line

TITLE = "Monitors"
KEY = "2"
SLOT = "left"
WIDE = 60
BEFORE, EVERY = 40, 7
"""Cells before what was found, and of the interval that only a wide pane shows."""
DUE = 12
"""Cells for when it looks again."""
ROWS = (7, 7)
HELP = (
    "How long ago each monitor last looked, how often it does, when it looks again, what it found. "
    "`overdue`: nobody has seen anything for too long, or whoever looks raises or hangs. The last "
    "line says who runs them."
)


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """A row for each monitor, and who runs them."""
    wide = frame.width >= WIDE
    every = f"{'EVERY':>7}" if wide else ""
    heads = line((f"{'':20}{'LAST':>6}{every}  {'NEXT':<12}FOUND", "muted"))
    tight = frame.height < len(snapshot.monitors) + 2
    # Where not all can be seen, the first are those that somebody must see.
    shown = sorted(snapshot.monitors, key=_well) if tight else snapshot.monitors
    rows = [_row(monitor, snapshot, frame.width) for monitor in shown]
    who = line(runner(snapshot))
    alone = not (snapshot.daemon.running or snapshot.daemon.here)
    table = rows if tight else [heads, *rows]
    return [who, *table] if alone else [*table, who]


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """What is not well, or that all is."""
    wrong = [monitor for monitor in snapshot.monitors if not _well(monitor)]
    if not wrong:
        word = f"● {len(snapshot.monitors)} ok  " if snapshot.monitors else "○ none  "
        return line((word, "ok" if snapshot.monitors else "muted"), runner(snapshot))
    spans = [
        part
        for one in wrong
        for part in ((f"{one.name} ", ""), health(one.health.state), ("  ", ""))
    ]
    return line(*spans, runner(snapshot))


def _well(monitor: MonitorView) -> bool:
    return monitor.health.state in (HealthState.OK, HealthState.OFF)


def _row(monitor: MonitorView, snapshot: Snapshot, width: int) -> Line:
    wide = width >= WIDE
    state, style = health(monitor.health.state)
    off = monitor.health.state is HealthState.OFF
    last = snapshot.moment.since(monitor.last.moment) if monitor.last else None
    age = "-" if off else "never" if last is None else calm(last)
    due = "-" if off else until(snapshot.moment, monitor.next_run)
    lead = "  " if len(due) < DUE else " "  # `due <10s ago` stands apart from what follows
    result = monitor.result if monitor.health.state is HealthState.OK else ""
    words = result or monitor.health.reason or monitor.result
    words = _brief(words, width - BEFORE - (EVERY if wide else 0))
    return line(
        (fit(monitor.name, 10), "strong"),
        (fit(state, 10), style),
        (fit(age, 6, right=True), ""),
        (fit(coarse(monitor.every_s), 7, right=True) if wide else "", "muted"),
        (fit(f"{lead}{due}", 14), "muted" if due.startswith(("in", "-")) else "warn"),
        (words, "muted" if monitor.health.state is HealthState.OK else style),
        item=True,
    )


def _brief(words: str, room: int) -> str:
    """A canary's figures in a narrow pane: without the words, without the work, then the sum."""
    short = words.removeprefix("answered in ")
    if short == words:
        return words
    told = (words, short, short.rpartition(", ")[0] or short, short.partition(":")[0])
    return next((one for one in told if cell_len(one) <= room), told[-1])
