"""From views to one verdict in words, worst first; and when a monitor is late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core.model import (
    DaemonView,
    Health,
    HealthState,
    LeaseState,
    Moment,
    MonitorView,
    RoleState,
    RoleView,
    Sample,
    Verdict,
)
from console.core.root_causes import SERVER, WATCHING, WORKER, Finding, Judgement, judge
from console.core.text.formatting import duration
from console.core.text.json_values import as_list

LATE = 1.5
"""A monitor is overdue when the last look that saw something is older than this many intervals,
and `SLACK_S`, and the time after which a look is given up."""
SLACK_S = 10.0
HUNG_S = 20.0
"""A daemon that beats every five seconds and has not for so long does not turn any more."""
NECESSARY = ("worker", "queue")
"""Without these roles nothing is automated: their absence is `down`, any other's `degraded`."""


def timely(
    health: Health, history: Sequence[Sample], every_s: float, now: Moment, timeout_s: float = 0.0
) -> Health:
    """`health`, unless nothing has been seen for too long: then overdue, whatever was said last.

    A look that timed out or raised has seen nothing. `history` is oldest first; where none has
    ever seen anything, the first that tried counts.
    """
    if health.state is HealthState.OFF:
        return health
    if not history:
        return Health(HealthState.UNKNOWN, "has not looked yet")
    seen = next((one for one in reversed(history) if one.error is None), history[0])
    age, due, error = now.since(seen.moment), duration(every_s), history[-1].error
    if age > every_s * LATE + SLACK_S + timeout_s:
        last = "last looked" if error is None else f"{error}; last saw something"
        return Health(HealthState.OVERDUE, f"{last} {duration(age)} ago, due every {due}")
    if error is not None:
        return Health(HealthState.UNKNOWN, error)
    return health


def verdict(
    roles: Iterable[RoleView], monitors: Iterable[MonitorView], daemon: DaemonView, now: Moment
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and every cause that counts against the box, worst first."""
    told = judgement(roles, monitors, daemon, now)
    return told.verdict, told.reasons


def judgement(
    roles: Iterable[RoleView], monitors: Iterable[MonitorView], daemon: DaemonView, now: Moment
) -> Judgement:
    """The verdict with its causes, worst first, and what follows from them."""
    roles = tuple(roles)
    # What a role's own finding says in full need not be said by its monitor again.
    said = {"worker", *(view.role.name for view in roles if view.found < view.role.count)}
    findings = [*_roles(roles), *_monitors(monitors, said), *_daemon(daemon, now)]
    if not findings:
        return Judgement(Verdict.HEALTHY, ("all roles run, all monitors are content",))
    return judge(findings)


def _roles(roles: Iterable[RoleView]) -> Iterator[Finding]:
    for view in roles:
        name, wanted = view.role.name, view.role.count
        absent = Verdict.DOWN if name in NECESSARY else Verdict.DEGRADED
        out = {"worker": WORKER, "queue": SERVER}.get(name, "")
        if view.state is RoleState.UNKNOWN:
            yield Finding(Verdict.UNKNOWN, f"{name}: {view.reason}", name)
        elif view.found < wanted and view.state is RoleState.STARTING:
            yield Finding(Verdict.DEGRADED, f"{name}: starting: {view.reason}", name, out)
        elif view.found < wanted:
            yield Finding(absent, f"{name}: {_missing(view)}", name, out)
        elif view.found > wanted:
            words = f"{name}: {view.found} instances where {wanted} is wanted"
            yield Finding(Verdict.DEGRADED, words, name)
        elif view.state is RoleState.STALLED:
            yield Finding(absent, f"{name}: stalled: {view.reason}", name, out)
        if view.lease.state is LeaseState.ORPHANED:
            pids = ", ".join(map(str, view.lease.holders)) or "?"
            yield Finding(Verdict.DEGRADED, f"{name}: lease orphaned, held by PID {pids}", name)
        elif view.lease.state is LeaseState.REPLACED:
            yield Finding(Verdict.DEGRADED, f"{name}: {view.lease.reason}", name)


def _missing(view: RoleView) -> str:
    wanted = view.role.count
    found = f"{view.found} of {wanted} run" if view.found else "not running"
    if view.state in (RoleState.PARKED, RoleState.BACKOFF):
        return f"{found}; {view.state.value.lower()}: {view.reason}"
    return f"{found}: {view.reason}" if view.reason else found


def _monitors(monitors: Iterable[MonitorView], said: set[str]) -> Iterator[Finding]:
    for view in monitors:
        name, reason = view.name, view.health.reason
        match view.health.state:
            case HealthState.FAILING if name in said:
                continue
            case HealthState.FAILING:
                serious = view.health.severe and name in ("canary", "queue")
                silent = name == "queue" and view.health.kind == "silent"
                yield Finding(
                    Verdict.DOWN if serious else Verdict.DEGRADED,
                    f"{name}: {reason}",
                    name,
                    SERVER if silent else "",
                    _symptoms(view),
                )
            case HealthState.OVERDUE:
                yield Finding(
                    Verdict.UNKNOWN, f"{name} monitor: {reason}", name, symptoms=("overdue",)
                )
            case HealthState.UNKNOWN:
                yield Finding(Verdict.UNKNOWN, f"{name} monitor: {reason}", name)


def _symptoms(view: MonitorView) -> tuple[str, ...]:
    """What a failing monitor says that may follow from another finding."""
    data = view.last.data if view.last is not None else {}
    if view.name == "canary":  # a wrong answer is the worker's own
        return ("canary",) if data.get("failed_at") in ("accepted", "taken", "finished") else ()
    if view.name == "queue":
        return {"long": ("queue.long",), "silent": ("server",)}.get(view.health.kind, ())
    if view.name == "watchdog" and view.health.kind == "reports":
        return tuple(map(str, as_list(data.get("anomalies"))))
    return ()


def _daemon(daemon: DaemonView, now: Moment) -> Iterator[Finding]:
    for trouble in daemon.troubles:
        if trouble.key != "package":  # what is loaded goes on
            yield Finding(Verdict.DEGRADED, trouble.words, "daemon")
    if not daemon.running and not daemon.here:
        reason = daemon.reason or "nobody runs the monitors"
        yield Finding(Verdict.UNKNOWN, reason, "daemon", WATCHING)
    elif daemon.heartbeat is not None and now.since(daemon.heartbeat) > HUNG_S:
        silent = duration(now.since(daemon.heartbeat))
        words = f"the monitors' daemon (PID {daemon.pid}) hangs: no heartbeat for {silent}"
        yield Finding(Verdict.UNKNOWN, words, "daemon", WATCHING)
