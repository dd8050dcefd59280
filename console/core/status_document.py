"""Exports a snapshot as the status document (`status --json`) and as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.core.model.events import Event
from console.core.model.processes import Instance, LookAlike
from console.core.model.roles import LeaseState
from console.core.model.samples import Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.model.views import BaselineView, MonitorView, RoleView
from console.core.text.formatting import format_clock, format_duration, format_utc, sanitize_text
from console.core.text.json_values import as_bool, as_number

SCHEMA_VERSION = 1
EXIT_CODES = {Verdict.HEALTHY: 0, Verdict.DEGRADED: 1, Verdict.DOWN: 1, Verdict.UNKNOWN: 1}
VERDICT_SYMBOLS = {
    Verdict.HEALTHY: "[ok]", Verdict.DEGRADED: "[!]", Verdict.DOWN: "[X]", Verdict.UNKNOWN: "[?]",
}  # fmt: skip


def status_to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return the status document. Within a schema, fields are added, never changed."""
    now = snapshot.moment
    return {
        "schema": SCHEMA_VERSION,
        "host": snapshot.host,
        "box": snapshot.box,
        "at": format_utc(now),
        "verdict": snapshot.verdict.value,
        "since": format_utc(snapshot.since),
        "reasons": list(snapshot.reasons),
        "follows": list(snapshot.follows),
        "roles": [_role(view, now) for view in snapshot.roles],
        "queue": _queue(snapshot),
        "monitors": [_monitor(view, now) for view in snapshot.monitors],
        "canary": _canary(snapshot),
        "watchdog": _watchdog(snapshot),
        "pipeline": {
            "state": snapshot.pipeline.state.value,
            "generated_at": format_utc(snapshot.pipeline.generated),
            "age_s": _age_s(snapshot.pipeline.generated, now),
            "anomalies": list(snapshot.pipeline.anomalies),
        },
        "baseline": _baseline(snapshot.baseline),
        "daemon": {
            "running": snapshot.daemon.running,
            "pid": snapshot.daemon.pid,
            "since": format_utc(snapshot.daemon.since),
            "version": snapshot.daemon.version or None,
            "troubles": [trouble.message for trouble in snapshot.daemon.troubles],
        },
        "notices": list(snapshot.notices),
    }


def _age_s(moment: Moment | None, now: Moment) -> float | None:
    return None if moment is None else round(now.since(moment), 1)


def _role(view: RoleView, now: Moment) -> dict[str, Any]:
    return {
        "name": view.role.name,
        "wanted": view.role.count,
        "state": view.state.value,
        "reason": view.reason,
        "instances": [_instance(item, view, now) for item in view.instances],
        "lease": view.lease.state.value,
        "token": view.token,
        "restarts": view.restarts,
        "others": [_look_alike(item) for item in view.look_alikes],
    }


def _look_alike(look_alike: LookAlike) -> dict[str, Any]:
    return {
        "pid": look_alike.identity.pid,
        "user": look_alike.user,
        "why": look_alike.why,
        "command": look_alike.command,
        "box": look_alike.box or None,
    }


def _instance(instance: Instance, view: RoleView, now: Moment) -> dict[str, Any]:
    cpu, rss_bytes = view.usage.get(instance.pid, (None, None))
    return {
        "pid": instance.pid,
        "pids": list(instance.pids),
        "started_at": format_utc(instance.root.started),
        "uptime_s": round(instance.uptime(now), 1),
        "leased": instance.leased,
        "adopted": instance.adopted,
        "token": instance.token,
        "box": instance.box,
        "surplus": instance.identity in view.surplus,
        "cpu_percent": cpu,
        "rss_bytes": rss_bytes,
        "command": instance.root.command,
    }


def _queue(snapshot: Snapshot) -> dict[str, Any]:
    queue = snapshot.queue
    return {
        "url": queue.url,
        "state": queue.state.value,
        "size": queue.size,
        "inflight": queue.inflight,
        "completed": queue.completed,
        "failed": queue.failed,
        "success_rate": None if queue.success_rate is None else round(queue.success_rate, 2),
        "latency_s": queue.latency_s,
        "drain_s": None if queue.drain_s is None else round(queue.drain_s, 1),
        "last_errors": [
            {"type": kind, "error": error, "count": count} for kind, error, count in queue.failures
        ],
        "age_s": _age_s(queue.seen, snapshot.moment),
    }


def _monitor(view: MonitorView, now: Moment) -> dict[str, Any]:
    return {
        "name": view.name,
        "state": view.health.state.value,
        "reason": view.health.reason,
        "every_s": view.every_s,
        "last_run": format_utc(view.last.moment) if view.last else None,
        "age_s": _age_s(view.last.moment, now) if view.last else None,
        "next_run": format_utc(view.next_run),
        "result": view.result or None,
    }


def _canary(snapshot: Snapshot) -> dict[str, Any]:
    """Return the newest canary; `queue_s` and `work_s` need a worker that reported its time."""
    view = snapshot.monitor("canary")
    last = view.last if view is not None else None
    data = last.data if last is not None and last.error is None else {}
    return {
        "ok": as_bool(data.get("ok")),
        "latency_s": as_number(data.get("latency_s")),
        "queue_s": as_number(data.get("queue_s")),
        "work_s": as_number(data.get("work_s")),
        "age_s": _age_s(last.moment, snapshot.moment) if last is not None else None,
    }


def _watchdog(snapshot: Snapshot) -> dict[str, Any]:
    watchdog, now = snapshot.watchdog, snapshot.moment
    return {
        "state": watchdog.state.value,
        "pid": watchdog.pid,
        "age_s": _age_s(watchdog.started, now),
        "heartbeat_age_s": _age_s(watchdog.heartbeat, now),
        "anomalies": list(watchdog.anomalies),
    }


def _baseline(view: BaselineView) -> dict[str, Any]:
    return {
        "state": view.state,
        "started_at": format_utc(view.started),
        "checkpoint_at": format_utc(view.checkpoint),
        "progress": None if view.progress is None else round(view.progress, 4),
        "coverage": None if view.coverage is None else round(view.coverage, 4),
        "metrics": [
            {
                "name": metric.name, "value": metric.value, "unit": metric.unit,
                "target": metric.target, "verdict": metric.verdict, "n": metric.n,
            }
            for metric in view.metrics
        ],
    }  # fmt: skip


# --- text -----------------------------------------------------------------------------------


def format_status(snapshot: Snapshot) -> str:
    """Return the status as text: the verdict, then one line for each role and each monitor."""
    return "\n".join(sanitize_text(line) for line in _status_lines(snapshot)) + "\n"


def format_headline(snapshot: Snapshot) -> str:
    """Return the verdict's symbol, the verdict, its start time, the host and the box."""
    since = f" since {format_clock(snapshot.since)}" if snapshot.since else ""
    shape = VERDICT_SYMBOLS[snapshot.verdict]
    return f"{shape} {snapshot.verdict.value.upper()}{since}  {snapshot.host}  {snapshot.box}"


def _status_lines(snapshot: Snapshot) -> Iterator[str]:
    now = snapshot.moment
    yield format_headline(snapshot)
    for reason in snapshot.reasons:
        yield f"    {reason}"
    for symptom in snapshot.follows:
        yield f"      {symptom}"
    yield ""
    for view in snapshot.roles:
        count_text = f"{view.instance_count}/{view.role.count}"
        yield f"{view.role.name:<12} {view.state.value:<9} {count_text:<5} {_role_text(view, now)}"
        if view.instance_count > 1:
            yield from (f"{'':<28} {_instance_text(item, view, now)}" for item in view.instances)
        yield from (f"{'':<28} {look_alike_text(item)}" for item in view.look_alikes)
    yield ""
    for monitor in snapshot.monitors:
        age = format_duration(now.since(monitor.last.moment)) if monitor.last else "never"
        finding = monitor.health.reason or monitor.result
        yield f"{monitor.name:<12} {monitor.health.state.value:<9} {age:<6} {finding}"
    baseline = snapshot.baseline
    if baseline.state != "off":
        progress, until = (
            f"{100 * (baseline.progress or 0):.0f} %",
            format_clock(baseline.checkpoint),
        )
        yield f"{'baseline':<12} {baseline.state:<9} {progress:<6} until {until}"
    for notice in snapshot.notices:
        yield f"note: {notice}"


def _role_text(view: RoleView, now: Moment) -> str:
    if view.instance_count == 1:
        busy = f"; {view.reason}" if view.reason.startswith("busy: ") else ""
        return _instance_text(view.instances[0], view, now) + busy
    return view.reason if not view.instance_count else f"{view.instance_count} instances"


def _instance_text(instance: Instance, view: RoleView, now: Moment) -> str:
    origin = f"leased, token {instance.token}" if instance.leased else "adopted"
    if instance.box is not None:
        origin = f"run by state directory {instance.box}"
    elif instance.launcher_ended:
        origin = "adopted; its launcher has ended, it runs on"
    if instance.identity in view.surplus:
        origin += ", surplus"
    if view.lease.state not in (LeaseState.HELD, LeaseState.FREE):
        origin += f", lease {view.lease.state}"
    pids = ">".join(str(pid) for pid in instance.pids[:4])
    return f"PID {pids} up {format_duration(instance.uptime(now))} ({origin})"


def look_alike_text(look_alike: LookAlike) -> str:
    """Return a look-alike as one line of text.

    Example: `not counted: PID 15 of user mallory (another user's process): python W.py`.
    """
    box = f", run by state directory {look_alike.box}" if look_alike.box else ""
    return (
        f"not counted: PID {look_alike.identity.pid} of user {look_alike.user} "
        f"({look_alike.why}{box}): {look_alike.command}"
    )


def format_event(event: Event) -> str:
    """Return an event as one line of text."""
    pid = f"PID {event.identity.pid}" if event.identity else ""
    token = f"#{event.token}" if event.token is not None else ""
    words = " ".join(filter(None, (event.role, pid, token)))
    line = f"{event.id:>6} {format_clock(event.moment)} {event.kind.value:<16} {words:<28}"
    return sanitize_text(f"{line} {event.actor:<24} {event.reason}".rstrip())


def event_to_json(event: Event) -> dict[str, Any]:
    """Return an event as plain JSON values."""
    return {
        "id": event.id,
        "at": format_utc(event.moment),
        "kind": event.kind.value,
        "role": event.role or None,
        "actor": event.actor or None,
        "reason": event.reason or None,
        "pid": event.identity.pid if event.identity else None,
        "identity": str(event.identity) if event.identity else None,
        "token": event.token,
        "data": dict(event.data),
    }


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """Return a monitor's sample as plain JSON values."""
    return {
        "look": sample.id,
        "at": format_utc(sample.moment),
        "monitor": sample.monitor,
        "error": sample.error,
        "data": dict(sample.data),
    }
