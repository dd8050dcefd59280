"""The watchdog: its process, and its heartbeat."""

from __future__ import annotations

from console.core.model import Snapshot
from console.core.text.formatting import coarse
from console.ui.render.state_labels import ago, health
from console.ui.render.styled_lines import Frame, Line, Span, fit, line, whole

TITLE = "Watchdog"
KEY = "4"
SLOT = "right"
ROWS = (2, 2)
HELP = (
    "The watchdog's process and the age of its heartbeat: a process that lives and does not beat "
    "is stalled. Below: the anomalies that it reports, and what it recommends."
)


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """Process and heartbeat, then anomalies."""
    dog = snapshot.watchdog
    now, width = snapshot.moment, frame.width
    age = coarse(now.since(dog.started)) if dog.started else "?"
    facts = [(f"heartbeat {ago(now, dog.heartbeat)}", ""), (f"PID {dog.pid or '-'}", "")]
    head = line(*whole((health(dog.state), ("  ", "")), [*facts, (f"up {age}", "muted")], width))
    why = [line((dog.reason, "warn"))] if dog.reason else []
    advice = [line((fit("advises", 12), "muted"), one, item=True) for one in dog.recommendations]
    return [head, *why, *anomalies(dog.anomalies), *advice]


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """State, heartbeat and the number of anomalies."""
    dog = snapshot.watchdog
    return line(
        health(dog.state),
        f"  PID {dog.pid or '-'} · heartbeat {ago(snapshot.moment, dog.heartbeat)}"
        f" · anomalies {len(dog.anomalies)}",
        (_reason(snapshot), "warn"),
    )


def anomalies(found: tuple[str, ...]) -> list[Line]:
    """A line that says none, or a line for each."""
    label: Span = (fit("anomalies", 12), "muted")
    if not found:
        return [line(label, ("none", "muted"))]
    rest = [line(" " * 12, (one, "warn")) for one in found[1:]]
    return [line(label, (found[0], "warn")), *rest]


def _reason(snapshot: Snapshot) -> str:
    return f"  {snapshot.watchdog.reason}" if snapshot.watchdog.reason else ""
