"""Folds open alerts from the event log, and decides which alerts to raise and to resolve.

An alert is raised once, when two samples in a row show the problem, and resolved when two samples
in a row do not. While its subject is unknown, an alert is neither raised nor resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from console.core.baseline.thresholds import Thresholds
from console.core.model.events import Event, EventKind
from console.core.model.roles import LeaseState, RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.views import Alert, MonitorView, RoleView, Severity
from console.core.records import Record, field, replace
from console.core.root_causes import find_dependent_alerts
from console.core.text.formatting import sanitize_text
from console.core.verdict import ESSENTIAL_ROLES

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
ALERT_KINDS = (EventKind.ALERT_RAISED, EventKind.ALERT_RESOLVED, EventKind.ALERT_ACKNOWLEDGED)
_SEVERITY_ORDER = tuple(Severity)

# --- the event log --------------------------------------------------------------------------


def fold_open_alerts(
    events: Iterable[Event], previously_open: Iterable[Alert] = ()
) -> tuple[Alert, ...]:
    """Return the open alerts after `events` (oldest first), in the order of `rank_alerts`."""
    alerts_by_key = {alert.key: alert for alert in previously_open}
    for event in events:
        key = str(event.data.get("key", ""))
        match event.kind:
            case EventKind.ALERT_RAISED if key and key not in alerts_by_key:
                alerts_by_key[key] = _alert_from_event(key, event)
            case EventKind.ALERT_RESOLVED:
                alerts_by_key.pop(key, None)
            case EventKind.ALERT_ACKNOWLEDGED if key in alerts_by_key:
                alerts_by_key[key] = replace(
                    alerts_by_key[key], acknowledged=event.actor or "somebody"
                )
    return rank_alerts(alerts_by_key)


def rank_alerts(alerts: Mapping[str, Alert]) -> tuple[Alert, ...]:
    """Return the alerts worst first; of equal ones, causes before consequences, then by age."""
    consequences = find_dependent_alerts(alerts.keys())

    def rank(alert: Alert) -> tuple[int, bool, float, str]:
        return (
            _SEVERITY_ORDER.index(alert.severity),
            alert.key in consequences,
            alert.since.at,
            alert.key,
        )

    return tuple(sorted(alerts.values(), key=rank))


def _alert_from_event(key: str, event: Event) -> Alert:
    severity_name = event.data.get("severity")
    severity = Severity(severity_name) if severity_name in set(Severity) else WARNING
    title = str(event.data.get("title") or key)
    return Alert(key, severity, title, event.reason, event.moment, event_id=event.id)


def update_reasons(open_alerts: Iterable[Alert], detected: Iterable[Alert]) -> tuple[Alert, ...]:
    """Return the open alerts, each with its present reason if it is detected now."""
    reasons = {alert.key: alert.reason for alert in detected}
    return tuple(
        replace(open_alert, reason=reasons.get(open_alert.key, open_alert.reason))
        for open_alert in open_alerts
    )


# --- confirmation by the next snapshot ------------------------------------------------------


class UnconfirmedAlerts(Record, frozen=True):
    """Alerts that one snapshot has shown, and that wait for the next one to confirm them."""

    to_raise: frozenset[str] = field(default_factory=frozenset)
    """Keys of problems without an open alert."""
    to_resolve: frozenset[str] = field(default_factory=frozenset)
    """Keys of open alerts without a problem."""


def update_alerts(
    unconfirmed: UnconfirmedAlerts,
    open_alerts: Iterable[Alert],
    snapshot: Snapshot,
    learnt: Thresholds | None = None,
) -> tuple[UnconfirmedAlerts, tuple[Alert, ...], tuple[Alert, ...]]:
    """Return (alerts to confirm at the next call, alerts to raise, alerts to resolve)."""
    open_by_key = {alert.key: alert for alert in open_alerts}
    detected = {alert.key: alert for alert in detect_alerts(snapshot, learnt)}
    unknown = unknown_subjects(snapshot)
    # A consequence is not raised beside its cause; one that was raised before stays open.
    consequences = find_dependent_alerts(detected.keys())
    unraised = frozenset(detected.keys() - open_by_key.keys() - consequences)
    unfounded = frozenset(
        key
        for key in open_by_key.keys() - detected.keys()
        if open_by_key[key].subject not in unknown
    )
    raised = tuple(detected[key] for key in sorted(unraised & unconfirmed.to_raise))
    resolved = tuple(open_by_key[key] for key in sorted(unfounded & unconfirmed.to_resolve))
    return UnconfirmedAlerts(unraised, unfounded), raised, resolved


def unknown_subjects(snapshot: Snapshot) -> set[str]:
    """Return the roles and monitors whose state is unknown now."""
    blind_states = (HealthState.UNKNOWN, HealthState.OVERDUE)
    unknown = {view.name for view in snapshot.monitors if view.health.state in blind_states}
    if "worker" in unknown:  # its samples cover all roles
        unknown |= {view.role.name for view in snapshot.roles}
    return unknown | {v.role.name for v in snapshot.roles if v.state is RoleState.UNKNOWN}


# --- detection ------------------------------------------------------------------------------


def detect_alerts(snapshot: Snapshot, learnt: Thresholds | None = None) -> tuple[Alert, ...]:
    """Return all problems in one snapshot as alerts, each key once, in the order of `rank_alerts`.

    `learnt`: the thresholds of the last good baseline of this box.
    """
    alerts_by_key: dict[str, Alert] = {}
    for key, severity, title, reason in (
        *_role_alerts(snapshot.roles),
        *_monitor_alerts(snapshot),
        *_lost_task_alerts(snapshot),
        *_baseline_alerts(snapshot),
        *_state_directory_alerts(snapshot),
        *_daemon_alerts(snapshot),
        *(_threshold_alerts(snapshot, learnt) if learnt else ()),
    ):
        # An absent role and its monitor raise an alert of the same key: the first one stays.
        alerts_by_key.setdefault(
            key, Alert(key, severity, title, sanitize_text(reason, 500), snapshot.moment)
        )
    return rank_alerts(alerts_by_key)


_AlertRow = tuple[str, Severity, str, str]


def _role_alerts(roles: Iterable[RoleView]) -> Iterator[_AlertRow]:
    for view in roles:
        name, wanted = view.role.name, view.role.count
        severity = CRITICAL if name in ESSENTIAL_ROLES else WARNING
        if view.state is RoleState.UNKNOWN:
            continue
        if view.instance_count > wanted:
            pids = ", ".join(str(instance.pid) for instance in view.instances)
            reason = f"{view.instance_count} instances where {wanted} is wanted: PID {pids}"
            yield f"{name}.duplicates", severity, f"{name}: duplicates", reason
        elif view.instance_count < wanted and view.state is not RoleState.STARTING:
            yield f"{name}.down", severity, f"{name} is down", _absence_text(view)
            if view.state is RoleState.PARKED:
                yield f"{name}.parked", severity, f"{name} is parked", view.reason
        elif view.state is RoleState.STALLED:
            yield f"{name}.stalled", severity, f"{name} does no work", view.reason
        if view.lease.state in (LeaseState.ORPHANED, LeaseState.REPLACED):
            pids = ", ".join(map(str, view.lease.holders)) or "?"
            reason = view.lease.reason or f"held by PID {pids}"
            yield f"{name}.lease", WARNING, f"{name}: lease {view.lease.state.value}", reason


def _absence_text(view: RoleView) -> str:
    """Return why the role is absent: the reason of its last death, and the policy's.

    During back-off the policy's reason is left out: it counts the restarts, and is outdated when
    the alert is read.
    """
    death = view.last_death.reason if view.last_death else ""
    if view.state is RoleState.BACKOFF and death:
        return death
    return "; ".join(dict.fromkeys(filter(None, (death, view.reason)))) or "not found"


def _monitor_alerts(snapshot: Snapshot) -> Iterator[_AlertRow]:
    for view in snapshot.monitors:
        match view.health.state:
            case HealthState.FAILING if view.name == "queue":
                yield _queue_alert(snapshot, view)
            case HealthState.FAILING if view.name == "worker" or not view.health.severe:
                continue  # the alerts of its roles, or of the learnt thresholds, say more
            case HealthState.FAILING:
                if (role := snapshot.role(view.name)) and _is_covered_by_role(role, view):
                    continue
                yield f"{view.name}.failing", WARNING, f"{view.name} fails", view.health.reason
            case HealthState.OVERDUE:
                yield f"{view.name}.blind", WARNING, f"{view.name} is overdue", view.health.reason
            case HealthState.UNKNOWN if view.last is not None and view.last.error is not None:
                title = f"{view.name} cannot be seen"
                yield f"{view.name}.blind", WARNING, title, view.health.reason


def _is_covered_by_role(role: RoleView, view: MonitorView) -> bool:
    """Return True if the monitor's failure needs no alert of its own.

    That is the case if instances of the role are missing, or if the sample was taken before the
    present instance started.
    """
    sampled_at = view.last.moment if view.last is not None else None
    is_younger = (
        role.since is not None and sampled_at is not None and role.since.later_than(sampled_at)
    )
    return role.instance_count < role.role.count or is_younger


def _queue_alert(snapshot: Snapshot, view: MonitorView) -> _AlertRow:
    """Return the alert of failing tasks, of a long queue, or of a server that does not answer."""
    health = view.health
    if health.kind == "tasks":
        severity = CRITICAL if health.critical or health.severe else WARNING
        return "queue.success", severity, "tasks fail", health.reason
    if snapshot.queue.size is not None:
        severity = CRITICAL if snapshot.queue.drain_s is None else WARNING
        return "queue.long", severity, "the queue is too long", health.reason
    return "queue.down", CRITICAL, "the queue server does not answer", health.reason


def _lost_task_alerts(snapshot: Snapshot) -> Iterator[_AlertRow]:
    """Yield an alert if the queue server lost tasks within the last hour."""
    if snapshot.queue.lost_tasks:  # not for results alone: each restart loses them
        yield "queue.lost", CRITICAL, "the queue server lost tasks", snapshot.queue.loss_message


def _baseline_alerts(snapshot: Snapshot) -> Iterator[_AlertRow]:
    view = snapshot.baseline
    if view.state == "invalid":
        yield "baseline.invalid", INFO, "the baseline is invalid", view.reason
    failed = [metric for metric in view.metrics if metric.verdict == "fail"]
    if failed and view.state != "off":
        descriptions = [f"{metric.name.replace('_', ' ')}: {metric.note}" for metric in failed]
        words = "; ".join(descriptions).replace("fails already: ", "")
        yield "baseline.failed", INFO, "the baseline fails", words


def _state_directory_alerts(snapshot: Snapshot) -> Iterator[_AlertRow]:
    """Yield an alert if the state directory cannot be written.

    The monitors go on in memory, and the operator can still act, but policy starts nothing.
    """
    if "no inodes" in snapshot.unwritable_reason:
        yield (
            "state.unwritable",
            CRITICAL,
            "no file can be made in the state",
            snapshot.unwritable_reason,
        )
    elif snapshot.unwritable_reason:
        reason = (
            f"{snapshot.unwritable_reason}; policy starts nothing before it can be written again"
        )
        yield "state.unwritable", CRITICAL, "the state cannot be written", reason


def _daemon_alerts(snapshot: Snapshot) -> Iterator[_AlertRow]:
    """Yield the troubles that the daemon reports of its own work."""
    for trouble in snapshot.daemon.troubles:
        match trouble.key.partition(".")[0]:
            case "repair":
                words = trouble.message.removeprefix("repair fails: ")
                yield "repair.failing", CRITICAL, "repair fails", words
            case "storage":
                yield "storage.silent", WARNING, "storage does not answer", trouble.message
            case "package":
                title = "the package has changed under the daemon"
                yield "package.changed", WARNING, title, trouble.message


def _threshold_alerts(snapshot: Snapshot, learnt: Thresholds) -> Iterator[_AlertRow]:
    """Yield the values that exceed what the last good baseline has shown to be normal."""
    queue = snapshot.queue
    latency_s, limit = queue.latency_s, learnt.latency_s
    if latency_s is not None and limit is not None and latency_s > limit:
        reason = f"{latency_s:.2f} s where {limit:.2f} s is the most that is normal here"
        yield "canary.slow", WARNING, "the canary is slower than is normal", reason
    if queue.size is not None and queue.size > learnt.queue_normal:
        reason = f"{queue.size} tasks wait; up to {learnt.queue_normal} is normal here"
        severity = CRITICAL if queue.size > learnt.queue_warning else WARNING
        yield "queue.long", severity, "the queue is longer than is normal", reason
