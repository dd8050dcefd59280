"""Computes the verdict with its reasons, worst first, and detects overdue monitors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core.model.roles import LeaseState, RoleState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Verdict
from console.core.model.time import Moment
from console.core.model.views import DaemonView, MonitorView, RoleView
from console.core.root_causes import (
    CAUSE_DAEMON_OUT,
    CAUSE_QUEUE_SILENT,
    CAUSE_WORKER_OUT,
    Finding,
    Judgement,
    rank_findings,
)
from console.core.text.formatting import format_duration
from console.core.text.json_values import as_list

OVERDUE_FACTOR = 1.5
"""A monitor is overdue if its last sample without an error is older than this many intervals plus
`OVERDUE_SLACK_S` plus the probe's timeout."""
OVERDUE_SLACK_S = 10.0
HEARTBEAT_TIMEOUT_S = 20.0
"""A daemon beats every five seconds; without a heartbeat for this long it hangs."""
ESSENTIAL_ROLES = ("worker", "queue")
"""Without these roles there is no automation: their absence is `down`, that of others
`degraded`."""


def check_overdue(
    health: Health, history: Sequence[Sample], every_s: float, now: Moment, timeout_s: float = 0.0
) -> Health:
    """Return `health`, or an overdue health if the monitor has not sampled for too long.

    A sample with an error (a timeout or an exception) does not count. `history` is oldest first; if
    all its samples have errors, the age of the first one counts. A monitor is unknown if it has no
    sample, or if its newest sample has an error.
    """
    if health.state is HealthState.OFF:
        return health
    if not history:
        return Health(HealthState.UNKNOWN, "has not looked yet")
    last_good = next((sample for sample in reversed(history) if sample.error is None), history[0])
    age_s, interval_text, error = (
        now.since(last_good.moment),
        format_duration(every_s),
        history[-1].error,
    )
    if age_s > every_s * OVERDUE_FACTOR + OVERDUE_SLACK_S + timeout_s:
        prefix = "last looked" if error is None else f"{error}; last saw something"
        return Health(
            HealthState.OVERDUE, f"{prefix} {format_duration(age_s)} ago, due every {interval_text}"
        )
    if error is not None:
        return Health(HealthState.UNKNOWN, error)
    return health


def compute_judgement(
    roles: Iterable[RoleView], monitors: Iterable[MonitorView], daemon: DaemonView, now: Moment
) -> Judgement:
    """Return the verdict with its causes, worst first, and their consequences."""
    roles = tuple(roles)
    # These roles have findings of their own, so their monitors need not repeat them.
    covered = {
        "worker",
        *(view.role.name for view in roles if view.instance_count < view.role.count),
    }
    findings = [
        *_role_findings(roles),
        *_monitor_findings(monitors, covered),
        *_daemon_findings(daemon, now),
    ]
    if not findings:
        return Judgement(Verdict.HEALTHY, ("all roles run, all monitors are content",))
    return rank_findings(findings)


def _role_findings(roles: Iterable[RoleView]) -> Iterator[Finding]:
    for view in roles:
        name, wanted = view.role.name, view.role.count
        absence_verdict = Verdict.DOWN if name in ESSENTIAL_ROLES else Verdict.DEGRADED
        cause_key = {"worker": CAUSE_WORKER_OUT, "queue": CAUSE_QUEUE_SILENT}.get(name, "")
        if view.state is RoleState.UNKNOWN:
            yield Finding(Verdict.UNKNOWN, f"{name}: {view.reason}", name)
        elif view.instance_count < wanted and view.state is RoleState.STARTING:
            yield Finding(Verdict.DEGRADED, f"{name}: starting: {view.reason}", name, cause_key)
        elif view.instance_count < wanted:
            yield Finding(absence_verdict, f"{name}: {_absence_text(view)}", name, cause_key)
        elif view.instance_count > wanted:
            words = f"{name}: {view.instance_count} instances where {wanted} is wanted"
            yield Finding(Verdict.DEGRADED, words, name)
        elif view.state is RoleState.STALLED:
            yield Finding(absence_verdict, f"{name}: stalled: {view.reason}", name, cause_key)
        if view.lease.state is LeaseState.ORPHANED:
            pids = ", ".join(map(str, view.lease.holders)) or "?"
            yield Finding(Verdict.DEGRADED, f"{name}: lease orphaned, held by PID {pids}", name)
        elif view.lease.state is LeaseState.REPLACED:
            yield Finding(Verdict.DEGRADED, f"{name}: {view.lease.reason}", name)


def _absence_text(view: RoleView) -> str:
    wanted = view.role.count
    count_text = f"{view.instance_count} of {wanted} run" if view.instance_count else "not running"
    if view.state in (RoleState.PARKED, RoleState.BACKOFF):
        return f"{count_text}; {view.state.value.lower()}: {view.reason}"
    return f"{count_text}: {view.reason}" if view.reason else count_text


def _monitor_findings(
    monitors: Iterable[MonitorView], covered_monitors: set[str]
) -> Iterator[Finding]:
    for view in monitors:
        name, reason = view.name, view.health.reason
        match view.health.state:
            case HealthState.FAILING if name in covered_monitors:
                continue
            case HealthState.FAILING:
                is_severe = view.health.severe and name in ("canary", "queue")
                is_silent = name == "queue" and view.health.kind == "silent"
                yield Finding(
                    Verdict.DOWN if is_severe else Verdict.DEGRADED,
                    f"{name}: {reason}",
                    name,
                    CAUSE_QUEUE_SILENT if is_silent else "",
                    _symptom_keys(view),
                )
            case HealthState.OVERDUE:
                yield Finding(
                    Verdict.UNKNOWN, f"{name} monitor: {reason}", name, symptom_keys=("overdue",)
                )
            case HealthState.UNKNOWN:
                yield Finding(Verdict.UNKNOWN, f"{name} monitor: {reason}", name)


def _symptom_keys(view: MonitorView) -> tuple[str, ...]:
    """Return the symptoms of a failing monitor that may follow from another finding."""
    data = view.last.data if view.last is not None else {}
    if view.name == "canary":  # a wrong answer is the worker's own fault
        return ("canary",) if data.get("failed_at") in ("accepted", "taken", "finished") else ()
    if view.name == "queue":
        return {"long": ("queue.long",), "silent": ("server",)}.get(view.health.kind, ())
    if view.name == "watchdog" and view.health.kind == "reports":
        return tuple(map(str, as_list(data.get("anomalies"))))
    return ()


def _daemon_findings(daemon: DaemonView, now: Moment) -> Iterator[Finding]:
    for trouble in daemon.troubles:
        if trouble.key != "package":  # the loaded code keeps running
            yield Finding(Verdict.DEGRADED, trouble.message, "daemon")
    if not daemon.running and not daemon.in_this_process:
        reason = daemon.reason or "nobody runs the monitors"
        yield Finding(Verdict.UNKNOWN, reason, "daemon", CAUSE_DAEMON_OUT)
    elif daemon.heartbeat is not None and now.since(daemon.heartbeat) > HEARTBEAT_TIMEOUT_S:
        silence = format_duration(now.since(daemon.heartbeat))
        words = f"the monitors' daemon (PID {daemon.pid}) hangs: no heartbeat for {silence}"
        yield Finding(Verdict.UNKNOWN, words, "daemon", CAUSE_DAEMON_OUT)
