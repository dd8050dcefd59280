"""Watchdog pane: its process, heartbeat, anomalies and recommendations."""

from __future__ import annotations

from console.core.model.snapshot import Snapshot
from console.core.text.formatting import format_coarse_duration
from console.ui.render.state_labels import format_ago, health_label
from console.ui.render.styled_lines import (
    PaneContext,
    Span,
    StyledLine,
    fit_facts,
    pad_text,
    styled_line,
)

TITLE = "Watchdog"
KEY = "4"
SLOT = "right"
ROWS = (2, 2)
HELP = (
    "The watchdog's process and the age of its heartbeat: a process that lives and does not beat "
    "is stalled. Below: the anomalies that it reports, and what it recommends."
)


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return the state of process and heartbeat, then anomalies, then recommendations."""
    dog = snapshot.watchdog
    now, width = snapshot.moment, context.width
    age = format_coarse_duration(now.since(dog.started)) if dog.started else "?"
    facts = [(f"heartbeat {format_ago(now, dog.heartbeat)}", ""), (f"PID {dog.pid or '-'}", "")]
    status = styled_line(
        *fit_facts((health_label(dog.state), ("  ", "")), [*facts, (f"up {age}", "muted")], width)
    )
    reason = [styled_line((dog.reason, "warn"))] if dog.reason else []
    advice = [
        styled_line((pad_text("advises", 12), "muted"), text, is_item=True)
        for text in dog.recommendations
    ]
    return [status, *reason, *anomaly_lines(dog.anomalies), *advice]


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return one line: state, PID, heartbeat and number of anomalies."""
    dog = snapshot.watchdog
    return styled_line(
        health_label(dog.state),
        f"  PID {dog.pid or '-'} · heartbeat {format_ago(snapshot.moment, dog.heartbeat)}"
        f" · anomalies {len(dog.anomalies)}",
        (_reason_text(snapshot), "warn"),
    )


def anomaly_lines(messages: tuple[str, ...]) -> list[StyledLine]:
    """Return a line for each message, or one line with "none"."""
    label: Span = (pad_text("anomalies", 12), "muted")
    if not messages:
        return [styled_line(label, ("none", "muted"))]
    rest = [styled_line(" " * 12, (message, "warn")) for message in messages[1:]]
    return [styled_line(label, (messages[0], "warn")), *rest]


def _reason_text(snapshot: Snapshot) -> str:
    return f"  {snapshot.watchdog.reason}" if snapshot.watchdog.reason else ""
