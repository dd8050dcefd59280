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
from console.core.text import duration

LATE = 1.5
"""A monitor is overdue when the last look that saw something is older than this many intervals,
and `SLACK_S`, and the time after which a look is given up."""
SLACK_S = 10.0
HUNG_S = 20.0
"""A daemon that beats every five seconds and has not for so long does not turn any more."""
NECESSARY = ("worker", "queue")
"""Without these roles nothing is automated: their absence is `down`, any other's `degraded`."""

Finding = tuple[Verdict, str]
_ORDER = (Verdict.DOWN, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.HEALTHY)


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
    """The verdict, and every reason that counts against the box, worst first."""
    roles = tuple(roles)
    # What a role's own finding says in full need not be said by its monitor again.
    said = {"worker", *(view.role.name for view in roles if view.found < view.role.count)}
    findings = [*_roles(roles), *_monitors(monitors, said), *_daemon(daemon, now)]
    findings.sort(key=lambda finding: _ORDER.index(finding[0]))
    if not findings:
        return Verdict.HEALTHY, ("all roles run, all monitors are content",)
    return findings[0][0], tuple(dict.fromkeys(reason for _, reason in findings))


def _roles(roles: Iterable[RoleView]) -> Iterator[Finding]:
    for view in roles:
        name, wanted = view.role.name, view.role.count
        absent = Verdict.DOWN if name in NECESSARY else Verdict.DEGRADED
        if view.state is RoleState.UNKNOWN:
            yield Verdict.UNKNOWN, f"{name}: {view.reason}"
        elif view.found < wanted and view.state is RoleState.STARTING:
            yield Verdict.DEGRADED, f"{name}: starting: {view.reason}"
        elif view.found < wanted:
            yield absent, f"{name}: {_missing(view)}"
        elif view.found > wanted:
            yield Verdict.DEGRADED, f"{name}: {view.found} instances where {wanted} is wanted"
        elif view.state is RoleState.STALLED:
            yield absent, f"{name}: stalled: {view.reason}"
        if view.lease.state is LeaseState.ORPHANED:
            pids = ", ".join(map(str, view.lease.holders)) or "?"
            yield Verdict.DEGRADED, f"{name}: lease orphaned, held by PID {pids}"
        elif view.lease.state is LeaseState.REPLACED:
            yield Verdict.DEGRADED, f"{name}: {view.lease.reason}"


def _missing(view: RoleView) -> str:
    wanted = view.role.count
    found = f"{view.found} of {wanted} run" if view.found else "not running"
    if view.state in (RoleState.PARKED, RoleState.BACKOFF):
        return f"{found}; {view.state.value.lower()}: {view.reason}"
    return f"{found}: {view.reason}" if view.reason else found


def _monitors(monitors: Iterable[MonitorView], said: set[str]) -> Iterator[Finding]:
    for view in monitors:
        match view.health.state:
            case HealthState.FAILING if view.name in said:
                continue
            case HealthState.FAILING:
                serious = view.health.severe and view.name in ("canary", "queue")
                yield (
                    Verdict.DOWN if serious else Verdict.DEGRADED,
                    f"{view.name}: {view.health.reason}",
                )
            case HealthState.OVERDUE:
                yield Verdict.UNKNOWN, f"{view.name} monitor: {view.health.reason}"
            case HealthState.UNKNOWN:
                yield Verdict.UNKNOWN, f"{view.name} monitor: {view.health.reason}"


def _daemon(daemon: DaemonView, now: Moment) -> Iterator[Finding]:
    if not daemon.running and not daemon.here:
        yield Verdict.UNKNOWN, daemon.reason or "nobody runs the monitors"
    elif daemon.heartbeat is not None and now.since(daemon.heartbeat) > HUNG_S:
        silent = duration(now.since(daemon.heartbeat))
        yield (
            Verdict.UNKNOWN,
            f"the monitors' daemon (PID {daemon.pid}) hangs: no heartbeat for {silent}",
        )
