"""The ledger, newest first: what happened, by whom, why."""

from __future__ import annotations

from console.core.model import Alert, Event, EventKind, Severity, Snapshot
from console.core.text import clock, coarse
from console.ui.paint import Frame, Line, Span, fit, line

TITLE = "Events"
KEY = "8"
SLOT = "bottom"
ROWS = (3, 40)
HELP = (
    "The alerts that stand (a takes note of one), then the ledger, newest on top: every start, "
    "death, command and refusal, with who asked (a person, `policy`, or `outside` for what nobody "
    "here did) and why."
)
_STYLES = {
    EventKind.DIED: "bad",
    EventKind.FAILED: "bad",
    EventKind.PARKED: "bad",
    EventKind.STALLED: "bad",
    EventKind.BACKED_OFF: "warn",
    EventKind.REFUSED: "warn",
    EventKind.VERDICT_CHANGED: "warn",
    EventKind.ALERT_RAISED: "bad",
    EventKind.ALERT_RESOLVED: "ok",
    EventKind.STARTED: "accent",
    EventKind.READY: "ok",
}


def view(snapshot: Snapshot, frame: Frame) -> list[Line]:
    """What stands, then a row for each event."""
    stand = [_alert(alert, snapshot) for alert in snapshot.alerts]
    if not snapshot.events:
        return [*stand, line(("nothing has happened yet", "muted"))]
    return stand + [_row(event, frame.width) for event in reversed(snapshot.events)]


def summary(snapshot: Snapshot, frame: Frame) -> Line:
    """The newest event."""
    if not snapshot.events:
        return line(("nothing has happened yet", "muted"))
    return _row(snapshot.events[-1], 60)


def _alert(alert: Alert, snapshot: Snapshot) -> Line:
    style = "bad" if alert.severity is Severity.CRITICAL else "warn"
    noted = f", noted by {alert.acknowledged}" if alert.acknowledged else ""
    return line(
        (fit(clock(alert.since), 9), "muted"),
        (f"▲ {alert.title}", "muted" if noted else style),
        (f" for {coarse(snapshot.moment.since(alert.since))}{noted}", "muted"),
        f": {alert.reason}",
        item=True,
    )


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
