"""States in words, shapes and colours: never by colour alone."""

from __future__ import annotations

from console.core.model import (
    HealthState,
    Instance,
    LookAlike,
    Moment,
    RoleState,
    RoleView,
    Snapshot,
    Verdict,
)
from console.core.text.formatting import clock, coarse
from console.ui.render.styled_lines import Span

OK, WARN, BAD, UNKNOWN, OFF, LATE = "●", "▲", "✖", "?", "○", "■"
LOOKING_S = 3.0
"""To wait for others and to look takes a moment: nobody is late before that."""

VERDICTS = {
    Verdict.HEALTHY: (OK, "ok"),
    Verdict.DEGRADED: (WARN, "warn"),
    Verdict.DOWN: (BAD, "bad"),
    Verdict.UNKNOWN: (UNKNOWN, "unknown"),
}
HEALTH = {
    HealthState.OK: (OK, "ok"),
    HealthState.FAILING: (BAD, "bad"),
    HealthState.OVERDUE: (LATE, "bad"),
    HealthState.UNKNOWN: (UNKNOWN, "unknown"),
    HealthState.OFF: (OFF, "muted"),
}
ROLES = {
    RoleState.READY: (OK, "ok"),
    RoleState.RUNNING: (OK, "accent"),
    RoleState.STARTING: (WARN, "accent"),
    RoleState.STOPPING: (WARN, "warn"),
    RoleState.STALLED: (BAD, "bad"),
    RoleState.BACKOFF: (WARN, "warn"),
    RoleState.PARKED: (BAD, "bad"),
    RoleState.STOPPED: (BAD, "bad"),
    RoleState.UNKNOWN: (UNKNOWN, "unknown"),
}
BASELINE = {
    "off": (OFF, "muted"),
    "collecting": (OK, "accent"),
    "complete": (OK, "ok"),
    "invalid": (BAD, "bad"),
}
METRICS = {"pass": (OK, "ok"), "fail": (BAD, "bad"), "undecided": (UNKNOWN, "unknown")}


def health(state: HealthState) -> Span:
    """Shape and word of a health."""
    shape, style = HEALTH[state]
    return f"{shape} {state.value}", style


def role_state(view: RoleView) -> Span:
    """Shape and word of a role's state; a role that is not wanted may be stopped."""
    shape, style = ROLES[view.state]
    if view.state is RoleState.STOPPED and view.role.count == 0:
        shape, style = OFF, "muted"
    return f"{shape} {view.state.value}", style


def calm(seconds: float) -> str:
    """An age in words that change seldom: a digit that ticks each second costs a slow link."""
    return "<10s" if seconds < 10 else coarse(seconds)


def ago(now: Moment, then: Moment | None) -> str:
    """How long ago."""
    return "never" if then is None else f"{calm(now.since(then))} ago"


def by_now(seconds: float | None, seen: Moment | None, now: Moment) -> float | None:
    """How long has become what had lasted for so long when it was seen."""
    if seconds is None or seen is None:
        return seconds
    return now.since(seen.plus(-seconds))


def until(now: Moment, then: Moment | None) -> str:
    """How long until, or how late."""
    if then is None:
        return "-"
    if 0.0 <= now.until(then.plus(LOOKING_S)) < 10.0:
        return f"in {calm(0.0)}"
    left = now.until(then)
    return f"in {calm(left)}" if left >= 0 else f"due {calm(-left)} ago"


def since(now: Moment, then: Moment | None) -> str:
    """`since 02:14 (3h07m)`."""
    return f"since {clock(then)[:5]} ({coarse(now.since(then))})" if then else ""


def held(view: RoleView, instance: Instance) -> Span:
    """By what right an instance runs."""
    if instance.box is not None:
        word, style = f"by {instance.box}", "warn"
    elif instance.leased:
        word = f"leased #{instance.token}" if instance.token is not None else "leased"
        style = ""
    elif instance.launcher_ended:
        word, style = "launcher ended", "muted"
    else:
        word, style = "adopted", "muted"
    if instance.identity in view.surplus:
        return "surplus " + (word.removeprefix("leased ") if instance.leased else "adopted"), "warn"
    return word, style


def look_alike_words(one: LookAlike) -> str:
    """`PID 15 of mallory, another user's process: python W.py`."""
    box = f", run by {one.box}" if one.box else ""
    return f"PID {one.identity.pid} of {one.user}, {one.why}{box}: {one.command}"


def runner(snapshot: Snapshot) -> Span:
    """Who runs the monitors."""
    daemon = snapshot.daemon
    if daemon.here:
        return "run by this console", "accent"
    if not daemon.running:
        return f"nobody runs them{': ' + daemon.reason if daemon.reason else ''}", "bad"
    age = f", up {coarse(snapshot.moment.since(daemon.since))}" if daemon.since else ""
    reason = f"; {daemon.reason}" if daemon.reason else ""
    return f"run by daemon {daemon.pid}{age}{reason}", "muted"
