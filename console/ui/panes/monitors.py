"""Monitors pane: health, last sample and next run of each monitor, and which process runs them."""

from __future__ import annotations

from rich.cells import cell_len

from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import MonitorView
from console.core.text.formatting import format_coarse_duration
from console.ui.render.state_labels import (
    format_age,
    format_until,
    health_label,
    monitor_runner_label,
)
from console.ui.render.styled_lines import PaneContext, StyledLine, pad_text, styled_line

TITLE = "Monitors"
KEY = "2"
SLOT = "left"
WIDE_MIN_CELLS = 60
FIXED_COLUMNS_CELLS, INTERVAL_CELLS = 40, 7
"""Cells before the FOUND column, and cells of the EVERY column, which only a wide pane shows."""
NEXT_RUN_CELLS = 12
"""Cells of the NEXT column."""
ROWS = (7, 7)
HELP = (
    "How long ago each monitor last looked, how often it does, when it looks again, what it found. "
    "`overdue`: nobody has seen anything for too long, or whoever looks raises or hangs. The last "
    "line says who runs them."
)


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return a row for each monitor, and a line that says which process runs them.

    That line comes first if no process runs them.
    """
    wide = context.width >= WIDE_MIN_CELLS
    every = f"{'EVERY':>7}" if wide else ""
    headings = styled_line((f"{'':20}{'LAST':>6}{every}  {'NEXT':<12}FOUND", "muted"))
    tight = context.height < len(snapshot.monitors) + 2
    # If the pane is too low for all monitors, those that are not well come first.
    shown = sorted(snapshot.monitors, key=_is_well) if tight else snapshot.monitors
    rows = [_monitor_row(monitor, snapshot, context.width) for monitor in shown]
    runner = styled_line(monitor_runner_label(snapshot))
    unmonitored = not (snapshot.daemon.running or snapshot.daemon.in_this_process)
    table = rows if tight else [headings, *rows]
    return [runner, *table] if unmonitored else [*table, runner]


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line: the monitors that are not well, or the number of monitors if all are."""
    unwell = [monitor for monitor in snapshot.monitors if not _is_well(monitor)]
    if not unwell:
        word = f"● {len(snapshot.monitors)} ok  " if snapshot.monitors else "○ none  "
        return styled_line(
            (word, "ok" if snapshot.monitors else "muted"), monitor_runner_label(snapshot)
        )
    spans = [
        part
        for monitor in unwell
        for part in ((f"{monitor.name} ", ""), health_label(monitor.health.state), ("  ", ""))
    ]
    return styled_line(*spans, monitor_runner_label(snapshot))


def _is_well(monitor: MonitorView) -> bool:
    return monitor.health.state in (HealthState.OK, HealthState.OFF)


def _monitor_row(monitor: MonitorView, snapshot: Snapshot, width: int) -> StyledLine:
    wide = width >= WIDE_MIN_CELLS
    state, style = health_label(monitor.health.state)
    off = monitor.health.state is HealthState.OFF
    last = snapshot.moment.since(monitor.last.moment) if monitor.last else None
    age = "-" if off else "never" if last is None else format_age(last)
    due = "-" if off else format_until(snapshot.moment, monitor.next_run)
    # `due <10s ago` fills its column: one space before it leaves one after it.
    lead = "  " if len(due) < NEXT_RUN_CELLS else " "
    result = monitor.result if monitor.health.state is HealthState.OK else ""
    words = result or monitor.health.reason or monitor.result
    words = _shorten_result(words, width - FIXED_COLUMNS_CELLS - (INTERVAL_CELLS if wide else 0))
    return styled_line(
        (pad_text(monitor.name, 10), "strong"),
        (pad_text(state, 10), style),
        (pad_text(age, 6, align_right=True), ""),
        (
            pad_text(format_coarse_duration(monitor.every_s), 7, align_right=True) if wide else "",
            "muted",
        ),
        (pad_text(f"{lead}{due}", 14), "muted" if due.startswith(("in", "-")) else "warn"),
        (words, "muted" if monitor.health.state is HealthState.OK else style),
        is_item=True,
    )


def _shorten_result(text: str, max_cells: int) -> str:
    """Return the longest form of a canary's result that fits in `max_cells`.

    The forms: the text; without `answered in`; also without the time of the work; only the total.
    If none fits, the shortest form is returned. Other results are returned unchanged.
    """
    short = text.removeprefix("answered in ")
    if short == text:
        return text
    forms = (text, short, short.rpartition(", ")[0] or short, short.partition(":")[0])
    return next((form for form in forms if cell_len(form) <= max_cells), forms[-1])
