"""The ledger, newest first: what happened, by whom, why."""

from __future__ import annotations

from console.core.model import Event, EventKind, Snapshot
from console.core.text import clock
from console.ui.paint import Frame, Line, Span, fit, line

TITLE = "Events"
KEY = "8"
SLOT = "left"
ROWS = (3, 40)
HELP = (
    "The ledger, newest on top: every start, death, command and refusal, with who asked "
    "(a person, `policy`, or `outside` for what nobody here did) and why."
)
_STYLES = {
    EventKind.DIED: "bad",
    EventKind.FAILED: "bad",
    EventKind.PARKED: "bad",
    EventKind.STALLED: "bad",
    EventKind.BACKED_OFF: "warn",
    EventKind.REFUSED: "warn",
    EventKind.VERDICT_CHANGED: "warn",
    EventKind.STARTED: "accent",
    EventKind.READY: "ok",
}


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """A row for each event."""
    if not snapshot.events:
        return [line(("nothing has happened yet", "muted"))]
    return [_row(event, frame.width) for event in reversed(snapshot.events)]


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """The newest event."""
    if not snapshot.events:
        return line(("nothing has happened yet", "muted"))
    return _row(snapshot.events[-1], 60)


def _row(event: Event, width: int) -> Line:
    spans: list[Span] = [
        (fit(clock(event.moment), 9), "muted"),
        (fit(event.kind.value, 16), _STYLES.get(event.kind, "")),
        (fit(event.role, 9), "strong"),
        (fit(event.identity.pid if event.identity else "", 7), ""),
    ]
    who: Span = (f"  {event.actor}", "muted")
    if width >= 100:
        return line(*spans, (fit(event.actor, 18), "muted"), event.reason, item=True)
    return line(*spans, event.reason, who, item=True)
