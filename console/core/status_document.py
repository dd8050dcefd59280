"""A snapshot for scripts and for readers outside the screen: the contract of `status --json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from console.core.model import (
    BaselineView,
    Event,
    Instance,
    LeaseState,
    LookAlike,
    Moment,
    MonitorView,
    RoleView,
    Sample,
    Snapshot,
    Verdict,
)
from console.core.text.formatting import clock, duration, utc, visible
from console.core.text.json_values import flag, number

SCHEMA = 1
EXIT = {Verdict.HEALTHY: 0, Verdict.DEGRADED: 1, Verdict.DOWN: 1, Verdict.UNKNOWN: 1}
SHAPES = {
    Verdict.HEALTHY: "[ok]", Verdict.DEGRADED: "[!]", Verdict.DOWN: "[X]", Verdict.UNKNOWN: "[?]",
}  # fmt: skip


def status(snapshot: Snapshot) -> dict[str, Any]:
    """The document that `status --json` prints. Fields are added within a schema, never changed."""
    now = snapshot.moment
    return {
        "schema": SCHEMA,
        "host": snapshot.host,
        "box": snapshot.box,
        "at": utc(now),
        "verdict": snapshot.verdict.value,
        "since": utc(snapshot.since),
        "reasons": list(snapshot.reasons),
        "follows": list(snapshot.follows),
        "roles": [_role(view, now) for view in snapshot.roles],
        "queue": _queue(snapshot),
        "monitors": [_monitor(view, now) for view in snapshot.monitors],
        "canary": _canary(snapshot),
        "watchdog": _watchdog(snapshot),
        "pipeline": {
            "state": snapshot.pipeline.state.value,
            "generated_at": utc(snapshot.pipeline.generated),
            "age_s": _age(snapshot.pipeline.generated, now),
            "anomalies": list(snapshot.pipeline.anomalies),
        },
        "baseline": _baseline(snapshot.baseline),
        "daemon": {
            "running": snapshot.daemon.running,
            "pid": snapshot.daemon.pid,
            "since": utc(snapshot.daemon.since),
            "version": snapshot.daemon.version or None,
            "troubles": [one.words for one in snapshot.daemon.troubles],
        },
        "notices": list(snapshot.notices),
    }


def _age(moment: Moment | None, now: Moment) -> float | None:
    return None if moment is None else round(now.since(moment), 1)


def _role(view: RoleView, now: Moment) -> dict[str, Any]:
    return {
        "name": view.role.name,
        "wanted": view.role.count,
        "state": view.state.value,
        "reason": view.reason,
        "instances": [_instance(one, view, now) for one in view.instances],
        "lease": view.lease.state.value,
        "token": view.token,
        "restarts": view.restarts,
        "others": [_look_alike(one) for one in view.others],
    }


def _look_alike(one: LookAlike) -> dict[str, Any]:
    return {
        "pid": one.identity.pid,
        "user": one.user,
        "why": one.why,
        "command": one.command,
        "box": one.box or None,
    }


def _instance(instance: Instance, view: RoleView, now: Moment) -> dict[str, Any]:
    cpu, resident = view.usage.get(instance.pid, (None, None))
    return {
        "pid": instance.pid,
        "pids": list(instance.pids),
        "started_at": utc(instance.root.started),
        "uptime_s": round(instance.uptime(now), 1),
        "leased": instance.leased,
        "adopted": instance.adopted,
        "token": instance.token,
        "box": instance.box,
        "surplus": instance.identity in view.surplus,
        "cpu_percent": cpu,
        "rss_bytes": resident,
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
            {"type": kind, "error": error, "count": times} for kind, error, times in queue.failures
        ],
        "age_s": _age(queue.seen, snapshot.moment),
    }


def _monitor(view: MonitorView, now: Moment) -> dict[str, Any]:
    return {
        "name": view.name,
        "state": view.health.state.value,
        "reason": view.health.reason,
        "every_s": view.every_s,
        "last_run": utc(view.last.moment) if view.last else None,
        "age_s": _age(view.last.moment, now) if view.last else None,
        "next_run": utc(view.next_run),
        "result": view.result or None,
    }


def _canary(snapshot: Snapshot) -> dict[str, Any]:
    """The newest one; its times in the queue and in work where the worker told its own."""
    view = snapshot.monitor("canary")
    last = view.last if view is not None else None
    data = last.data if last is not None and last.error is None else {}
    return {
        "ok": flag(data.get("ok")),
        "latency_s": number(data.get("latency_s")),
        "queue_s": number(data.get("queue_s")),
        "work_s": number(data.get("work_s")),
        "age_s": _age(last.moment, snapshot.moment) if last is not None else None,
    }


def _watchdog(snapshot: Snapshot) -> dict[str, Any]:
    watchdog, now = snapshot.watchdog, snapshot.moment
    return {
        "state": watchdog.state.value,
        "pid": watchdog.pid,
        "age_s": _age(watchdog.started, now),
        "heartbeat_age_s": _age(watchdog.heartbeat, now),
        "anomalies": list(watchdog.anomalies),
    }


def _baseline(view: BaselineView) -> dict[str, Any]:
    return {
        "state": view.state,
        "started_at": utc(view.started),
        "checkpoint_at": utc(view.checkpoint),
        "progress": None if view.progress is None else round(view.progress, 4),
        "coverage": None if view.coverage is None else round(view.coverage, 4),
        "metrics": [
            {
                "name": one.name, "value": one.value, "unit": one.unit, "target": one.target,
                "verdict": one.verdict, "n": one.n,
            }
            for one in view.metrics
        ],
    }  # fmt: skip


# --- for readers ----------------------------------------------------------------------------


def status_text(snapshot: Snapshot) -> str:
    """The same for a terminal: verdict first, one line for each role and monitor."""
    return "\n".join(visible(line) for line in _status_lines(snapshot)) + "\n"


def headline(snapshot: Snapshot) -> str:
    """A shape, the verdict, since when, and of which box."""
    since = f" since {clock(snapshot.since)}" if snapshot.since else ""
    shape = SHAPES[snapshot.verdict]
    return f"{shape} {snapshot.verdict.value.upper()}{since}  {snapshot.host}  {snapshot.box}"


def _status_lines(snapshot: Snapshot) -> Iterator[str]:
    now = snapshot.moment
    yield headline(snapshot)
    for reason in snapshot.reasons:
        yield f"    {reason}"
    for symptom in snapshot.follows:
        yield f"      {symptom}"
    yield ""
    for view in snapshot.roles:
        found = f"{view.found}/{view.role.count}"
        yield f"{view.role.name:<12} {view.state.value:<9} {found:<5} {_role_words(view, now)}"
        if view.found > 1:
            yield from (f"{'':<28} {_instance_words(one, view, now)}" for one in view.instances)
        yield from (f"{'':<28} {look_alike_words(one)}" for one in view.others)
    yield ""
    for monitor in snapshot.monitors:
        age = duration(now.since(monitor.last.moment)) if monitor.last else "never"
        words = monitor.health.reason or monitor.result
        yield f"{monitor.name:<12} {monitor.health.state.value:<9} {age:<6} {words}"
    baseline = snapshot.baseline
    if baseline.state != "off":
        progress, until = f"{100 * (baseline.progress or 0):.0f} %", clock(baseline.checkpoint)
        yield f"{'baseline':<12} {baseline.state:<9} {progress:<6} until {until}"
    for notice in snapshot.notices:
        yield f"note: {notice}"


def _role_words(view: RoleView, now: Moment) -> str:
    if view.found == 1:
        busy = f"; {view.reason}" if view.reason.startswith("busy: ") else ""
        return _instance_words(view.instances[0], view, now) + busy
    return view.reason if not view.found else f"{view.found} instances"


def _instance_words(instance: Instance, view: RoleView, now: Moment) -> str:
    whose = f"leased, token {instance.token}" if instance.leased else "adopted"
    if instance.box is not None:
        whose = f"run by state directory {instance.box}"
    elif instance.launcher_ended:
        whose = "adopted; its launcher has ended, it runs on"
    if instance.identity in view.surplus:
        whose += ", surplus"
    if view.lease.state not in (LeaseState.HELD, LeaseState.FREE):
        whose += f", lease {view.lease.state}"
    pids = ">".join(str(pid) for pid in instance.pids[:4])
    return f"PID {pids} up {duration(instance.uptime(now))} ({whose})"


def look_alike_words(one: LookAlike) -> str:
    """`not counted: PID 15 of user mallory (another user's process): python W.py`."""
    box = f", run by state directory {one.box}" if one.box else ""
    return f"not counted: PID {one.identity.pid} of user {one.user} ({one.why}{box}): {one.command}"


def event_line(event: Event) -> str:
    """One line of the ledger for a terminal."""
    pid = f"PID {event.identity.pid}" if event.identity else ""
    token = f"#{event.token}" if event.token is not None else ""
    words = " ".join(filter(None, (event.role, pid, token)))
    line = f"{event.id:>6} {clock(event.moment)} {event.kind.value:<16} {words:<28}"
    return visible(f"{line} {event.actor:<24} {event.reason}".rstrip())


def event_data(event: Event) -> dict[str, Any]:
    """One line of the ledger for scripts."""
    return {
        "id": event.id,
        "at": utc(event.moment),
        "kind": event.kind.value,
        "role": event.role or None,
        "actor": event.actor or None,
        "reason": event.reason or None,
        "pid": event.identity.pid if event.identity else None,
        "identity": str(event.identity) if event.identity else None,
        "token": event.token,
        "data": dict(event.data),
    }


def sample_data(sample: Sample) -> dict[str, Any]:
    """What a monitor saw, for scripts."""
    return {
        "look": sample.id,
        "at": utc(sample.moment),
        "monitor": sample.monitor,
        "error": sample.error,
        "data": dict(sample.data),
    }
