"""Events pane: the open alerts, then the event log, newest first."""

from __future__ import annotations

from console.core.model.events import Event, EventKind
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.views import Alert, Severity
from console.core.text.formatting import format_clock, format_coarse_duration
from console.ui.render.state_labels import VERDICT_LABELS
from console.ui.render.styled_lines import PaneContext, Span, StyledLine, pad_text, styled_line

TITLE = "Events"
KEY = "8"
SLOT = "bottom"
ROWS = (3, 3)
HELP = (
    "The alerts that stand (a takes note of one), then the ledger, newest on top: every start, "
    "death, command and refusal, with who asked (a person, `policy`, or `outside` for what nobody "
    "here did) and why."
)
_EVENT_STYLES = {
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


def view(snapshot: Snapshot, context: PaneContext) -> list[StyledLine]:
    """Return a row for each open alert, then a row for each event."""
    alert_rows = [_alert_row(alert, snapshot) for alert in snapshot.alerts]
    if not snapshot.events:
        return [*alert_rows, styled_line(("nothing has happened yet", "muted"))]
    return alert_rows + [_event_row(event, context.width) for event in reversed(snapshot.events)]


def summary(snapshot: Snapshot, context: PaneContext) -> StyledLine:
    """Return the row of the newest event."""
    if not snapshot.events:
        return styled_line(("nothing has happened yet", "muted"))
    return _event_row(snapshot.events[-1], 60)


def _alert_row(alert: Alert, snapshot: Snapshot) -> StyledLine:
    style = "bad" if alert.severity is Severity.CRITICAL else "warn"
    noted = f", noted by {alert.acknowledged}" if alert.acknowledged else ""
    return styled_line(
        (pad_text(format_clock(alert.since), 9), "muted"),
        (f"▲ {alert.title}", "muted" if noted else style),
        (f" for {format_coarse_duration(snapshot.moment.since(alert.since))}{noted}", "muted"),
        f": {alert.reason}",
        is_item=True,
    )


def _event_row(event: Event, width: int) -> StyledLine:
    style, reason = _describe_event(event)
    spans: list[Span] = [
        (_pad_column(format_clock(event.moment), 8), "muted"),
        (_pad_column(event.kind.value, 16), style),
        (_pad_column(event.role, 8), "strong"),
        (_pad_column(event.identity.pid if event.identity else "", 7), ""),
    ]
    if width >= 100:
        return styled_line(*spans, (_pad_column(event.actor, 18), "muted"), *reason, is_item=True)
    return styled_line(*spans, *reason, (f"  {event.actor}", "muted"), is_item=True)


def _pad_column(text: object, width: int) -> str:
    """Return `text` in `width` cells, followed by one space."""
    return f"{pad_text(text, width)} "


def _describe_event(event: Event) -> tuple[str, list[Span]]:
    """Return the style of an event's kind, and the spans of its reason.

    The reason of a changed verdict begins with the verdict's shape and name in the verdict's
    colour, because the event of the monitor beside it may have the same reason.
    """
    verdict = str(event.data.get("verdict"))
    if event.kind is not EventKind.VERDICT_CHANGED or verdict not in set(Verdict):
        return _EVENT_STYLES.get(event.kind, ""), [(event.reason, "")]
    shape, style = VERDICT_LABELS[Verdict(verdict)]
    return style, [(f"{shape} {verdict.upper()}", style), (f": {event.reason}", "")]
