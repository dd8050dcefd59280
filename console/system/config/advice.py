"""Warnings about valid settings that probably do not work as intended."""

from __future__ import annotations

from collections.abc import Iterator

from console.core.model.processes import Identity, Process
from console.core.model.roles import RestartPolicy, Role
from console.core.model.time import Moment
from console.core.processes.argv_matching import in_directory, runs_role
from console.core.records import replace
from console.system.config.schema import Settings


def settings_warnings(settings: Settings) -> list[str]:
    """Return warnings, each of which begins with its key. Only the settings are read."""
    role_warnings = [warning for role in settings.all_roles() for warning in _role_warnings(role)]
    return [*role_warnings, *_monitor_warnings(settings)]


def _role_warnings(role: Role) -> Iterator[str]:
    key = f"roles.{role.name}"
    if role.command:
        yield from (f"{key}.{warning}" for warning in _command_warnings(role))
    elif role.policy.stalled == "restart":
        yield f"{key}.restart.stalled: there is no command to restart it with"
    policy = role.policy
    if not policy.enabled and policy.stalled == "restart":
        yield f"{key}.restart.stalled: restarts are not enabled, so it is reported only"
    if policy.backoff_s > policy.backoff_max_s:
        yield f"{key}.restart.backoff_s: longer than backoff_max_s, which is used instead"
    if policy.enabled and role.command and policy.window_s < _min_restart_span_s(policy):
        yield (
            f"{key}.restart.window_s: shorter than the back-offs between {policy.limit} "
            f"restarts, so the limit is never reached"
        )
    if policy.enabled and not policy.limit and role.command:
        yield f"{key}.restart.limit: 0: it is parked at its first death; enabled = false says so"
    if policy.healthy_s <= role.settle_s:
        yield f"{key}.restart.healthy_s: not longer than settle_s: each start counts as healthy"


def _min_restart_span_s(policy: RestartPolicy) -> float:
    """Return the seconds from the first to the last of `limit` restarts that all fail at once."""
    steps = range(1, policy.limit)
    return sum(min(policy.backoff_s * 2.0 ** min(n, 30), policy.backoff_max_s) for n in steps)


def _command_warnings(role: Role) -> Iterator[str]:
    """Yield a warning for each match rule that a process started by `command` would not meet."""
    process = Process(
        Identity(1, 1, ""), 1, role.command, Moment(0.0), cwd=role.cwd, env=role.env
    )  # fmt: skip
    match = " ".join((role.match, *role.match_args))
    if not runs_role(process, role) and not _differs_only_by_directory(process, role):
        yield f"match: the command does not run {match!r}, unless what it runs starts that in turn"
    if role.cwd is not None and not in_directory(process, role):
        yield f"match_cwd: the command runs in {role.cwd}, unless that is a symbolic link to it"
    for name, value in role.match_env.items():
        if name in role.env and role.env[name] != value:
            yield f"match_env: the command runs with {name}={role.env[name]}, not {value}"


def _differs_only_by_directory(process: Process, role: Role) -> bool:
    """Return True if only the directories of `match` differ: they may be symbolic links."""
    base = replace(role, match=role.match.rsplit("/", 1)[-1])
    return "/" in role.match and runs_role(process, base)


def _monitor_warnings(settings: Settings) -> Iterator[str]:
    queue, monitors = settings.queue, settings.monitors
    if queue.timeout_s >= queue.lease_s:
        yield "queue.timeout_s: not shorter than lease_s"
    depth = monitors.queue
    if depth.enabled and queue.timeout_s > depth.every_s:
        yield "queue.timeout_s: longer than monitors.queue.every_s: looks come late"
    warn, fail = depth.warn_above, depth.fail_above
    if warn is not None and fail is not None and warn > fail:
        yield "monitors.queue.warn_above: above fail_above, so it is never reached"
    canary = monitors.canary
    if canary.slow_s is not None and canary.slow_s >= canary.deadline_s:
        yield "monitors.canary.slow_s: not below deadline_s, so a canary is never slow"
    if canary.enabled and canary.deadline_s >= canary.every_s:
        yield "monitors.canary.deadline_s: not below every_s: canaries would overlap"
    for name in ("watchdog", "pipeline"):
        monitor = getattr(monitors, name)
        stale_s = monitor.stale_s
        if monitor.enabled and stale_s is not None and stale_s < monitor.every_s:
            yield f"monitors.{name}.stale_s: below every_s: stale at most looks"
    if settings.baseline.hours * 3600 > settings.retention.samples_days * 86_400:
        yield "baseline.hours: longer than retention.samples_days keeps what it needs"
