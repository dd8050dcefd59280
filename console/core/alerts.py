"""Alerts as a fold of the ledger: what is wrong now, against what stands, gives what to write.

An alert is raised once, when two looks in a row have found it, and resolved when two looks in a
row have not. What cannot be seen is neither: an alert about it stands as it stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from console.core.baseline.thresholds import Thresholds
from console.core.frozen import frozen, replace
from console.core.model import (
    Alert,
    Event,
    EventKind,
    HealthState,
    LeaseState,
    MonitorView,
    RoleState,
    RoleView,
    Severity,
    Snapshot,
)
from console.core.root_causes import consequences
from console.core.text.formatting import visible
from console.core.verdict import NECESSARY

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
KINDS = (EventKind.ALERT_RAISED, EventKind.ALERT_RESOLVED, EventKind.ALERT_ACKNOWLEDGED)
_ORDER = tuple(Severity)

# --- the ledger -----------------------------------------------------------------------------


def standing(events: Iterable[Event], before: Iterable[Alert] = ()) -> tuple[Alert, ...]:
    """The alerts that stand after `events` (oldest first), worst first, then oldest first."""
    known = {alert.key: alert for alert in before}
    for event in events:
        key = str(event.data.get("key", ""))
        match event.kind:
            case EventKind.ALERT_RAISED if key and key not in known:
                known[key] = _alert(key, event)
            case EventKind.ALERT_RESOLVED:
                known.pop(key, None)
            case EventKind.ALERT_ACKNOWLEDGED if key in known:
                known[key] = replace(known[key], acknowledged=event.actor or "somebody")
    return ranked(known)


def ranked(alerts: Mapping[str, Alert]) -> tuple[Alert, ...]:
    """Worst first; of equal ones a cause before what follows from it, then the oldest first."""
    follows = consequences(alerts.keys())

    def rank(alert: Alert) -> tuple[int, bool, float, str]:
        return _ORDER.index(alert.severity), alert.key in follows, alert.since.at, alert.key

    return tuple(sorted(alerts.values(), key=rank))


def _alert(key: str, event: Event) -> Alert:
    told = event.data.get("severity")
    severity = Severity(told) if told in set(Severity) else WARNING
    title = str(event.data.get("title") or key)
    return Alert(key, severity, title, event.reason, event.moment, event=event.id)


def current(stand: Iterable[Alert], found: Iterable[Alert]) -> tuple[Alert, ...]:
    """The alerts that stand, with the reason that each has now where it is found now."""
    reasons = {alert.key: alert.reason for alert in found}
    return tuple(replace(one, reason=reasons.get(one.key, one.reason)) for one in stand)


# --- one look after the other ---------------------------------------------------------------


@frozen
class Watch:
    """What the look before has found out, and what is not yet believed of it."""

    appearing: frozenset[str] = field(default_factory=frozenset)
    """Wrong, and no alert yet."""
    fading: frozenset[str] = field(default_factory=frozenset)
    """An alert, and nothing wrong any more."""


def step(
    watch: Watch, stand: Iterable[Alert], snapshot: Snapshot, learnt: Thresholds | None = None
) -> tuple[Watch, tuple[Alert, ...], tuple[Alert, ...]]:
    """After one more look: what to remember, what to raise, what to resolve."""
    known = {alert.key: alert for alert in stand}
    wrong = {alert.key: alert for alert in findings(snapshot, learnt)}
    hidden = unclear(snapshot)
    # What follows from a cause is no news beside it; an alert that was raised before stays.
    follows = consequences(wrong.keys())
    fresh = frozenset(wrong.keys() - known.keys() - follows)
    gone = frozenset(key for key in known.keys() - wrong.keys() if known[key].subject not in hidden)
    raised = tuple(wrong[key] for key in sorted(fresh & watch.appearing))
    resolved = tuple(known[key] for key in sorted(gone & watch.fading))
    return Watch(fresh, gone), raised, resolved


def unclear(snapshot: Snapshot) -> set[str]:
    """The subjects of which nothing can be said now."""
    blind = (HealthState.UNKNOWN, HealthState.OVERDUE)
    hidden = {view.name for view in snapshot.monitors if view.health.state in blind}
    if "worker" in hidden:  # its looks tell of every role
        hidden |= {view.role.name for view in snapshot.roles}
    return hidden | {v.role.name for v in snapshot.roles if v.state is RoleState.UNKNOWN}


# --- what is wrong --------------------------------------------------------------------------


def findings(snapshot: Snapshot, learnt: Thresholds | None = None) -> tuple[Alert, ...]:
    """Everything that is wrong in one snapshot, each key once, worst first.

    `learnt`: what the last good baseline has shown to be normal here.
    """
    found: dict[str, Alert] = {}
    for key, severity, title, reason in (
        *_roles(snapshot.roles),
        *_monitors(snapshot),
        *_lost(snapshot),
        *_baseline(snapshot),
        *_state(snapshot),
        *_troubles(snapshot),
        *(_unusual(snapshot, learnt) if learnt else ()),
    ):
        # A role that is absent says the same as the monitor that misses it.
        found.setdefault(key, Alert(key, severity, title, visible(reason, 500), snapshot.moment))
    return ranked(found)


_Row = tuple[str, Severity, str, str]


def _roles(roles: Iterable[RoleView]) -> Iterator[_Row]:
    for view in roles:
        name, wanted = view.role.name, view.role.count
        severe = CRITICAL if name in NECESSARY else WARNING
        if view.state is RoleState.UNKNOWN:
            continue
        if view.found > wanted:
            pids = ", ".join(str(one.pid) for one in view.instances)
            reason = f"{view.found} instances where {wanted} is wanted: PID {pids}"
            yield f"{name}.duplicates", severe, f"{name}: duplicates", reason
        elif view.found < wanted and view.state is not RoleState.STARTING:
            yield f"{name}.down", severe, f"{name} is down", _absence(view)
            if view.state is RoleState.PARKED:
                yield f"{name}.parked", severe, f"{name} is parked", view.reason
        elif view.state is RoleState.STALLED:
            yield f"{name}.stalled", severe, f"{name} does no work", view.reason
        if view.lease.state in (LeaseState.ORPHANED, LeaseState.REPLACED):
            pids = ", ".join(map(str, view.lease.holders)) or "?"
            reason = view.lease.reason or f"held by PID {pids}"
            yield f"{name}.lease", WARNING, f"{name}: lease {view.lease.state.value}", reason


def _absence(view: RoleView) -> str:
    """Why it is not there: what its last death says, and what policy makes of it.

    The back-off's counter is left out: it has moved on before the alert is read.
    """
    death = view.last_death.reason if view.last_death else ""
    if view.state is RoleState.BACKOFF and death:
        return death
    return "; ".join(dict.fromkeys(filter(None, (death, view.reason)))) or "not found"


def _monitors(snapshot: Snapshot) -> Iterator[_Row]:
    for view in snapshot.monitors:
        match view.health.state:
            case HealthState.FAILING if view.name == "queue":
                yield _queue(snapshot, view)
            case HealthState.FAILING if view.name == "worker" or not view.health.severe:
                continue  # its roles say it better, or what is unusual does
            case HealthState.FAILING:
                if (role := snapshot.role(view.name)) and _replaced(role, view):
                    continue
                yield f"{view.name}.failing", WARNING, f"{view.name} fails", view.health.reason
            case HealthState.OVERDUE:
                yield f"{view.name}.blind", WARNING, f"{view.name} is overdue", view.health.reason
            case HealthState.UNKNOWN if view.last is not None and view.last.error is not None:
                title = f"{view.name} cannot be seen"
                yield f"{view.name}.blind", WARNING, title, view.health.reason


def _replaced(role: RoleView, view: MonitorView) -> bool:
    """What a monitor says of a role is said by its absence, or was seen of an earlier instance."""
    last = view.last.moment if view.last is not None else None
    young = role.since is not None and last is not None and role.since.later_than(last)
    return role.found < role.role.count or young


def _queue(snapshot: Snapshot, view: MonitorView) -> _Row:
    """Tasks that fail, too many that wait, or a server that does not answer."""
    health = view.health
    if health.kind == "tasks":
        severity = CRITICAL if health.critical or health.severe else WARNING
        return "queue.success", severity, "tasks fail", health.reason
    if snapshot.queue.size is not None:
        severity = CRITICAL if snapshot.queue.drain_s is None else WARNING
        return "queue.long", severity, "the queue is too long", health.reason
    return "queue.down", CRITICAL, "the queue server does not answer", health.reason


def _lost(snapshot: Snapshot) -> Iterator[_Row]:
    """Tasks that went with a queue server, for an hour."""
    if snapshot.queue.lost:  # results alone are gone with every restart
        yield "queue.lost", CRITICAL, "the queue server lost tasks", snapshot.queue.anew


def _baseline(snapshot: Snapshot) -> Iterator[_Row]:
    view = snapshot.baseline
    if view.state == "invalid":
        yield "baseline.invalid", INFO, "the baseline is invalid", view.reason
    failed = [one for one in view.metrics if one.verdict == "fail"]
    if failed and view.state != "off":
        told = [f"{one.name.replace('_', ' ')}: {one.note}" for one in failed]
        words = "; ".join(told).replace("fails already: ", "")
        yield "baseline.failed", INFO, "the baseline fails", words


def _state(snapshot: Snapshot) -> Iterator[_Row]:
    """Watching goes on in memory, and a person can still act; policy cannot."""
    if "no inodes" in snapshot.unwritable:
        yield "state.unwritable", CRITICAL, "no file can be made in the state", snapshot.unwritable
    elif snapshot.unwritable:
        reason = f"{snapshot.unwritable}; policy starts nothing before it can be written again"
        yield "state.unwritable", CRITICAL, "the state cannot be written", reason


def _troubles(snapshot: Snapshot) -> Iterator[_Row]:
    """What the daemon says of its own work."""
    for trouble in snapshot.daemon.troubles:
        match trouble.key.partition(".")[0]:
            case "repair":
                words = trouble.words.removeprefix("repair fails: ")
                yield "repair.failing", CRITICAL, "repair fails", words
            case "storage":
                yield "storage.silent", WARNING, "storage does not answer", trouble.words
            case "package":
                title = "the package has changed under the daemon"
                yield "package.changed", WARNING, title, trouble.words


def _unusual(snapshot: Snapshot, learnt: Thresholds) -> Iterator[_Row]:
    """What the last good baseline says is not normal on this box."""
    queue = snapshot.queue
    slow, limit = queue.latency_s, learnt.latency_s
    if slow is not None and limit is not None and slow > limit:
        reason = f"{slow:.2f} s where {limit:.2f} s is the most that is normal here"
        yield "canary.slow", WARNING, "the canary is slower than is normal", reason
    if queue.size is not None and queue.size > learnt.queue_normal:
        reason = f"{queue.size} tasks wait; up to {learnt.queue_normal} is normal here"
        severe = CRITICAL if queue.size > learnt.queue_warning else WARNING
        yield "queue.long", severe, "the queue is longer than is normal", reason
