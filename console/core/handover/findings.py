"""What a hand-over holds against the box, worst first, and what must hold for it to be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from console.core.alerts import findings as wrong_now
from console.core.baseline.run_document import conclusion
from console.core.explain.death_case import BORN
from console.core.handover.model import Claim, Condition, Finding, Times
from console.core.handover.sections import newest
from console.core.model import Alert, Event, EventKind, HealthState, RoleState, Severity, Snapshot
from console.core.text.command_hint import steps
from console.core.text.formatting import visible

_WATCHED = (HealthState.OK, HealthState.FAILING)
_CURES = {
    "duplicates": "`rpa-console kill {0} --duplicates` keeps one",
    "down": "`rpa-console ensure {0}` starts it",
    "parked": "see `rpa-console why {0}`, then `rpa-console restart {0}` takes it up again",
    "stalled": "`rpa-console restart {0}`",
    "lease": "`rpa-console kill {0} --force` ends what is left of it",
    "blind": "`rpa-console doctor` says what it relies on",
}


# --- findings -------------------------------------------------------------------------------


def findings(snapshot: Snapshot, recent: Sequence[Event], times: Times) -> Iterator[Finding]:
    """What stands, what has just been seen, and what has come and gone; worst first."""
    wrong = wrong_now(snapshot)
    reasons = {alert.key: alert.reason for alert in wrong}
    found = [_standing(alert, reasons, snapshot, times) for alert in snapshot.alerts]
    known = {alert.key for alert in snapshot.alerts}
    for alert in wrong:
        if alert.key not in known:
            text = f"{visible(alert.reason, 300)}; seen just now, not yet an alert"
            cure = _cure(alert, snapshot)
            found.append(Finding(alert.severity, alert.title, Claim(text), True, cure))
    found += _past(recent, known, times)
    for notice in snapshot.notices:
        found.append(Finding(Severity.INFO, "notice", Claim(visible(notice, 300)), True))
    order = tuple(Severity)
    yield from sorted(found, key=lambda one: (order.index(one.severity), not one.stands))


def _standing(
    alert: Alert, reasons: Mapping[str, str], snapshot: Snapshot, times: Times
) -> Finding:
    noted = f"; acknowledged by {visible(alert.acknowledged, 80)}" if alert.acknowledged else ""
    text = f"{visible(alert.reason, 300)}; since {times.ago(alert.since)}{noted}"
    now = reasons.get(alert.key, alert.reason)
    if alert.key == "baseline.failed" and now != alert.reason:  # one target after the other
        text += f"; by now: {visible(now, 600)}"
    ids = (alert.event,) if alert.event else ()
    cure = _cure(alert, snapshot)
    return Finding(alert.severity, alert.title, Claim(text, ids), True, cure)


def _cure(alert: Alert, snapshot: Snapshot) -> str:
    """What a person can do about it here."""
    _, _, problem = alert.key.partition(".")
    view = snapshot.role(alert.subject)
    if problem in ("down", "parked", "stalled") and (view is None or not view.role.command):
        return ""
    return steps(_CURES.get(problem, "").format(alert.subject))


def critical(snapshot: Snapshot) -> tuple[Alert, ...]:
    """What is critical: the alerts that stand, and what has just been seen."""
    standing = {alert.key: alert for alert in (*wrong_now(snapshot), *snapshot.alerts)}
    return tuple(one for one in standing.values() if one.severity is Severity.CRITICAL)


def _past(recent: Sequence[Event], known: set[str], times: Times) -> Iterator[Finding]:
    """Alerts that were raised and resolved in this time, one finding for each key."""
    kinds = (EventKind.ALERT_RAISED, EventKind.ALERT_RESOLVED)
    told: dict[str, list[Event]] = {}
    for event in recent:
        if event.kind in kinds and (key := str(event.data.get("key", ""))) not in known:
            told.setdefault(key, []).append(event)
    for events in told.values():
        last, first = events[-1], events[0]
        raised = [event for event in events if event.kind is EventKind.ALERT_RAISED]
        reason = visible(raised[-1].reason, 300) if raised else "raised before this time"
        often = f", {len(raised)} times" if len(raised) > 1 else ""
        text = f"{reason}; from {times.at(first.moment)}{often}, resolved {times.ago(last.moment)}"
        level = first.data.get("severity")
        severity = Severity(level) if level in set(Severity) else Severity.WARNING
        title = visible(str(first.data.get("title")), 100)
        yield Finding(severity, title, Claim(text, tuple(e.id for e in events)), False)


# --- conditions -----------------------------------------------------------------------------


def conditions(snapshot: Snapshot, events: Sequence[Event]) -> Iterator[Condition]:
    """What must hold for the task to be complete."""
    daemon = snapshot.daemon
    ids = newest(events, EventKind.DAEMON_STARTED)
    yield Condition(daemon.running or daemon.here, Claim("The monitors' daemon runs", ids))
    for name, words in (
        ("canary", "The canary loop runs"),
        ("worker", "The worker monitor runs"),
        ("pipeline", "The realtime pipeline is followed"),
    ):
        view = snapshot.monitor(name)
        met = view is not None and view.health.state in _WATCHED
        looks = (view.last.id,) if view and view.last and view.last.id else ()
        yield Condition(met, Claim(words, looks=looks))
    worker = snapshot.role("worker")
    if worker is not None:
        number = "one worker" if worker.role.count == 1 else f"{worker.role.count} workers"
        known = worker.state is not RoleState.UNKNOWN
        met_ = worker.found == worker.role.count if known else None
        one = next((i.identity for i in worker.instances), None)
        born = [e.id for e in events if e.identity == one and e.kind in BORN and one]
        yield Condition(met_, Claim(f"Exactly {number}", tuple(born[-1:])))
    written = snapshot.pipeline.generated
    yield Condition(
        None if written is None and not snapshot.pipeline.path else written is not None,
        Claim("The output files exist"),
    )
    bad = critical(snapshot)
    ids = tuple(one.event for one in bad)
    yield Condition(not bad, Claim("Nothing critical stands", ids))
    passed = {"pass": True, "fail": False, "invalid": False}.get(conclusion(snapshot.baseline))
    ids = newest(events, EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
    yield Condition(passed, Claim("The normal baseline has passed", ids))
