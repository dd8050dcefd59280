"""The ledger, newest first: what happened, by whom, why."""

from __future__ import annotations

from console.core.model import Alert, Event, EventKind, Severity, Snapshot, Verdict
from console.core.text.formatting import clock, coarse
from console.ui.render.state_labels import VERDICTS
from console.ui.render.styled_lines import Frame, Line, Span, fit, line

TITLE = "Events"
KEY = "8"
SLOT = "bottom"
ROWS = (3, 3)
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
    EventKind.REFUSED: "warn",
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
    style, reason = _told(event)
    spans: list[Span] = [
        (_cell(clock(event.moment), 8), "muted"),
        (_cell(event.kind.value, 16), style),
        (_cell(event.role, 8), "strong"),
        (_cell(event.identity.pid if event.identity else "", 7), ""),
    ]
    if width >= 100:
        return line(*spans, (_cell(event.actor, 18), "muted"), *reason, item=True)
    return line(*spans, *reason, (f"  {event.actor}", "muted"), item=True)


def _cell(text: object, width: int) -> str:
    """A column's text, and a gap after it however long it is."""
    return f"{fit(text, width)} "


def _told(event: Event) -> tuple[str, list[Span]]:
    """The style of what has happened, and the reason: a verdict in its own colour, with its name.

    The monitor's line beside it may give the very same reason.
    """
    verdict = str(event.data.get("verdict"))
    if event.kind is not EventKind.VERDICT_CHANGED or verdict not in set(Verdict):
        return _STYLES.get(event.kind, ""), [(event.reason, "")]
    shape, style = VERDICTS[Verdict(verdict)]
    return style, [(f"{shape} {verdict.upper()}", style), (f": {event.reason}", "")]
