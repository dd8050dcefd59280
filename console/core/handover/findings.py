"""Collects the findings of a hand-over, worst first, and checks the conditions for completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from console.core.alerts import detect_alerts
from console.core.baseline.run_document import conclusion
from console.core.handover.model import Claim, Condition, HandoverFinding, TimeFormatter
from console.core.handover.sections import newest_event_ids
from console.core.model.events import START_KINDS, Event, EventKind
from console.core.model.roles import RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import Alert, Severity
from console.core.text.command_hint import add_options_to_commands
from console.core.text.formatting import sanitize_text

_REPORTING_STATES = (HealthState.OK, HealthState.FAILING)
_REMEDIES = {
    "duplicates": "`rpa-console kill {0} --duplicates` keeps one",
    "down": "`rpa-console ensure {0}` starts it",
    "parked": "see `rpa-console why {0}`, then `rpa-console restart {0}` takes it up again",
    "stalled": "`rpa-console restart {0}`",
    "lease": "`rpa-console kill {0} --force` ends what is left of it",
    "blind": "`rpa-console doctor` says what it relies on",
}


# --- findings -------------------------------------------------------------------------------


def collect_findings(
    snapshot: Snapshot, recent: Sequence[Event], times: TimeFormatter
) -> Iterator[HandoverFinding]:
    """Yield the open alerts, the alerts seen just now, the resolved alerts and the notices.

    Findings are sorted by severity, worst first; open ones come before resolved ones.
    """
    detected = detect_alerts(snapshot)
    reasons = {alert.key: alert.reason for alert in detected}
    findings = [_open_alert_finding(alert, reasons, snapshot, times) for alert in snapshot.alerts]
    open_keys = {alert.key for alert in snapshot.alerts}
    for alert in detected:
        if alert.key not in open_keys:
            text = f"{sanitize_text(alert.reason, 300)}; seen just now, not yet an alert"
            remedy = _remedy_text(alert, snapshot)
            findings.append(HandoverFinding(alert.severity, alert.title, Claim(text), True, remedy))
    findings += _resolved_alert_findings(recent, open_keys, times)
    for notice in snapshot.notices:
        findings.append(
            HandoverFinding(Severity.INFO, "notice", Claim(sanitize_text(notice, 300)), True)
        )
    order = tuple(Severity)
    yield from sorted(
        findings, key=lambda finding: (order.index(finding.severity), not finding.is_open)
    )


def _open_alert_finding(
    alert: Alert, current_reasons: Mapping[str, str], snapshot: Snapshot, times: TimeFormatter
) -> HandoverFinding:
    acknowledgement = (
        f"; acknowledged by {sanitize_text(alert.acknowledged, 80)}" if alert.acknowledged else ""
    )
    text = (
        f"{sanitize_text(alert.reason, 300)}; since "
        f"{times.format_time_with_age(alert.since)}{acknowledgement}"
    )
    current_reason = current_reasons.get(alert.key, alert.reason)
    # Further targets may have failed since the alert was raised.
    if alert.key == "baseline.failed" and current_reason != alert.reason:
        text += f"; by now: {sanitize_text(current_reason, 600)}"
    ids = (alert.event_id,) if alert.event_id else ()
    remedy = _remedy_text(alert, snapshot)
    return HandoverFinding(alert.severity, alert.title, Claim(text, ids), True, remedy)


def _remedy_text(alert: Alert, snapshot: Snapshot) -> str:
    """Return the command that may solve the problem on this box, or "" if there is none."""
    _, _, problem = alert.key.partition(".")
    view = snapshot.role(alert.subject)
    if problem in ("down", "parked", "stalled") and (view is None or not view.role.command):
        return ""
    return add_options_to_commands(_REMEDIES.get(problem, "").format(alert.subject))


def critical_alerts(snapshot: Snapshot) -> tuple[Alert, ...]:
    """Return the critical alerts: the open ones, and those that `snapshot` shows just now."""
    alerts_by_key = {alert.key: alert for alert in (*detect_alerts(snapshot), *snapshot.alerts)}
    return tuple(alert for alert in alerts_by_key.values() if alert.severity is Severity.CRITICAL)


def _resolved_alert_findings(
    recent: Sequence[Event], open_keys: set[str], times: TimeFormatter
) -> Iterator[HandoverFinding]:
    """Yield the alerts raised or resolved in `recent` that are not open, one for each key."""
    kinds = (EventKind.ALERT_RAISED, EventKind.ALERT_RESOLVED)
    events_by_key: dict[str, list[Event]] = {}
    for event in recent:
        if event.kind in kinds and (key := str(event.data.get("key", ""))) not in open_keys:
            events_by_key.setdefault(key, []).append(event)
    for events in events_by_key.values():
        last, first = events[-1], events[0]
        raised = [event for event in events if event.kind is EventKind.ALERT_RAISED]
        reason = sanitize_text(raised[-1].reason, 300) if raised else "raised before this time"
        count_text = f", {len(raised)} times" if len(raised) > 1 else ""
        text = (
            f"{reason}; from {times.format_time(first.moment)}{count_text}, resolved "
            f"{times.format_time_with_age(last.moment)}"
        )
        severity_name = first.data.get("severity")
        severity = Severity(severity_name) if severity_name in set(Severity) else Severity.WARNING
        title = sanitize_text(str(first.data.get("title")), 100)
        yield HandoverFinding(severity, title, Claim(text, tuple(e.id for e in events)), False)


# --- conditions -----------------------------------------------------------------------------


def check_conditions(snapshot: Snapshot, events: Sequence[Event]) -> Iterator[Condition]:
    """Yield the conditions for completion; a condition is met, not met or unknown."""
    daemon = snapshot.daemon
    ids = newest_event_ids(events, EventKind.DAEMON_STARTED)
    yield Condition(
        daemon.running or daemon.in_this_process, Claim("The monitors' daemon runs", ids)
    )
    for name, words in (
        ("canary", "The canary loop runs"),
        ("worker", "The worker monitor runs"),
        ("pipeline", "The realtime pipeline is followed"),
    ):
        view = snapshot.monitor(name)
        is_met = view is not None and view.health.state in _REPORTING_STATES
        sample_ids = (view.last.id,) if view and view.last and view.last.id else ()
        yield Condition(is_met, Claim(words, sample_ids=sample_ids))
    worker = snapshot.role("worker")
    if worker is not None:
        count_text = "one worker" if worker.role.count == 1 else f"{worker.role.count} workers"
        is_known = worker.state is not RoleState.UNKNOWN
        has_wanted_count = worker.instance_count == worker.role.count if is_known else None
        identity = next((i.identity for i in worker.instances), None)
        start_ids = [
            e.id for e in events if e.identity == identity and e.kind in START_KINDS and identity
        ]
        yield Condition(has_wanted_count, Claim(f"Exactly {count_text}", tuple(start_ids[-1:])))
    generated = snapshot.pipeline.generated
    yield Condition(
        None if generated is None and not snapshot.pipeline.path else generated is not None,
        Claim("The output files exist"),
    )
    critical = critical_alerts(snapshot)
    ids = tuple(e.event_id for e in critical)
    yield Condition(not critical, Claim("Nothing critical stands", ids))
    has_passed = {"pass": True, "fail": False, "invalid": False}.get(conclusion(snapshot.baseline))
    ids = newest_event_ids(events, EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
    yield Condition(has_passed, Claim("The normal baseline has passed", ids))
