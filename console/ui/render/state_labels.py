"""Labels of states as shape, word and style, so that no state is shown by colour alone."""

from __future__ import annotations

from console.core.model.processes import Instance, LookAlike
from console.core.model.roles import RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import RoleView
from console.core.text.formatting import format_clock, format_coarse_duration
from console.ui.render.styled_lines import Span

OK, WARN, BAD, UNKNOWN, OFF, LATE = "●", "▲", "✖", "?", "○", "■"
SAMPLING_ALLOWANCE_S = 3.0
"""A monitor is not late before this time: it waits for other monitors, and its run takes time."""

VERDICT_LABELS = {
    Verdict.HEALTHY: (OK, "ok"),
    Verdict.DEGRADED: (WARN, "warn"),
    Verdict.DOWN: (BAD, "bad"),
    Verdict.UNKNOWN: (UNKNOWN, "unknown"),
}
HEALTH_LABELS = {
    HealthState.OK: (OK, "ok"),
    HealthState.FAILING: (BAD, "bad"),
    HealthState.OVERDUE: (LATE, "bad"),
    HealthState.UNKNOWN: (UNKNOWN, "unknown"),
    HealthState.OFF: (OFF, "muted"),
}
ROLE_STATE_LABELS = {
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
BASELINE_LABELS = {
    "off": (OFF, "muted"),
    "collecting": (OK, "accent"),
    "complete": (OK, "ok"),
    "invalid": (BAD, "bad"),
}
METRIC_LABELS = {"pass": (OK, "ok"), "fail": (BAD, "bad"), "undecided": (UNKNOWN, "unknown")}


def health_label(state: HealthState) -> Span:
    """Return shape and word of a health state, with its style."""
    shape, style = HEALTH_LABELS[state]
    return f"{shape} {state.value}", style


def role_state_label(view: RoleView) -> Span:
    """Return shape and word of a role's state, with its style.

    A stopped role with a configured count of 0 is not shown as bad.
    """
    shape, style = ROLE_STATE_LABELS[view.state]
    if view.state is RoleState.STOPPED and view.role.count == 0:
        shape, style = OFF, "muted"
    return f"{shape} {view.state.value}", style


def format_age(seconds: float) -> str:
    """Return an age as text that changes seldom.

    Over a slow link a digit that changes every second is expensive.
    """
    return "<10s" if seconds < 10 else format_coarse_duration(seconds)


def format_ago(now: Moment, then: Moment | None) -> str:
    """Return how long ago `then` was, or "never" if it is None."""
    return "never" if then is None else f"{format_age(now.since(then))} ago"


def age_by_now(age_s: float | None, seen_at: Moment | None, now: Moment) -> float | None:
    """Return the age, in seconds, now of something that was `age_s` old at `seen_at`.

    If `age_s` or `seen_at` is None, return `age_s`.
    """
    if age_s is None or seen_at is None:
        return age_s
    return now.since(seen_at.plus(-age_s))


def format_until(now: Moment, then: Moment | None) -> str:
    """Return the time until `then`, or how long it is overdue; "-" if it is None."""
    if then is None:
        return "-"
    if 0.0 <= now.until(then.plus(SAMPLING_ALLOWANCE_S)) < 10.0:
        return f"in {format_age(0.0)}"
    remaining_s = now.until(then)
    return (
        f"in {format_age(remaining_s)}"
        if remaining_s >= 0
        else f"due {format_age(-remaining_s)} ago"
    )


def format_since(now: Moment, then: Moment | None) -> str:
    """Return the time and the age of `then`, as `since 02:14 (3h07m)`; "" if it is None."""
    return (
        f"since {format_clock(then)[:5]} ({format_coarse_duration(now.since(then))})"
        if then
        else ""
    )


def holder_label(view: RoleView, instance: Instance) -> Span:
    """Return how an instance is held: leased, adopted, surplus, or run by another box."""
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


def describe_look_alike(look_alike: LookAlike) -> str:
    """Return a line such as `PID 15 of mallory, another user's process: python W.py`."""
    box = f", run by {look_alike.box}" if look_alike.box else ""
    return (
        f"PID {look_alike.identity.pid} of {look_alike.user}, "
        f"{look_alike.why}{box}: {look_alike.command}"
    )


def monitor_runner_label(snapshot: Snapshot) -> Span:
    """Return which process runs the monitors, or that none does and why."""
    daemon = snapshot.daemon
    if daemon.in_this_process:
        return "run by this console", "accent"
    if not daemon.running:
        return f"nobody runs them{': ' + daemon.reason if daemon.reason else ''}", "bad"
    age = (
        f", up {format_coarse_duration(snapshot.moment.since(daemon.since))}"
        if daemon.since
        else ""
    )
    reason = f"; {daemon.reason}" if daemon.reason else ""
    return f"run by daemon {daemon.pid}{age}{reason}", "muted"
