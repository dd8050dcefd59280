"""The watchdog: is its process there, is its heartbeat young, what does it complain about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.metrics import file_age
from console.core.model import Health, HealthState, Moment, Sample
from console.core.text.formatting import duration, visible
from console.core.text.json_values import as_list, count, flag, local_time, number, table, text
from console.system import clock
from console.system.config.schema import Settings
from console.system.files.safe_files import FileError, Problem
from console.system.threads import aside

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "watchdog"
FIELDS = (
    "pid", "ticks", "started_at", "instances", "heartbeat_at", "anomalies", "health_ok",
    "queue_size", "path", "problem", "recommendations", file_age.SLEPT,
)  # fmt: skip
MOST = 5
"""Recommendations that are kept."""
CLOCK_S = 60.0
"""A heartbeat this far in the future, in seconds, is a clock that is wrong."""


def every(settings: Settings) -> float:
    """Seconds between two looks."""
    return settings.monitors.watchdog.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.watchdog.enabled


def _path(box: Box) -> Path:
    return box.outputs / Path(box.settings.monitors.watchdog.file).expanduser()


async def probe(box: Box) -> Sample:
    """Its oldest process, and what its status file says."""
    path = _path(box)
    seen: dict[str, Any] = dict.fromkeys(FIELDS) | {"anomalies": [], "path": str(path)}
    seen[file_age.SLEPT] = clock.slept()
    instances = await box.instances(NAME)
    seen["instances"] = len(instances)
    if instances:
        first = min(instances, key=lambda instance: instance.root.started.tick)
        seen.update(pid=first.pid, ticks=first.identity.ticks, started_at=first.root.started.at)
    try:
        status, written_at = await aside(box.door.read_json, path)
        seen.update(_status(table(status), box.now(), written_at))
    except FileError as error:
        seen["problem"] = str(error)
    return Sample(NAME, box.now(), seen)


def _status(status: Mapping[str, Any], now: Moment, written_at: float) -> dict[str, Any]:
    heartbeat = local_time(status.get("timestamp"), now, UTC, written_at)
    named = (text(name, 100) for name in as_list(status.get("anomalies"))[:20])
    return {
        "heartbeat_at": heartbeat,
        "anomalies": [visible(name) for name in named if name],
        "recommendations": [
            visible(words, 200)
            for one in as_list(status.get("recommendations"))[:MOST]
            if (words := text(one, 200))
        ],
        "health_ok": flag(status.get("health_ok")),
        "queue_size": count(status.get("queue_size")),
        "problem": None if heartbeat is not None else "no heartbeat in it",
    }


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Failing without a process, with an old heartbeat, or when it reports an anomaly.

    A file met half written is forgiven once: the heartbeat of the look before counts.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "not looked yet")
    last = history[-1]
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    if number(last.data.get("pid")) is None:
        known = any(number(one.data.get("pid")) is not None for one in history)
        return Health(HealthState.FAILING, _absent(last, settings, known))
    half = (text(last.data.get("problem")) or "").startswith(Problem.HALF)
    if half and len(history) > 1 and history[-2].error is None:
        return _judge_heartbeat(last, history[:-1], now, settings)
    return _judge_heartbeat(last, history, now, settings)


def _absent(sample: Sample, settings: Settings, known: bool) -> str:
    """Nobody has to be told how to name a process that was there before."""
    name_it = "name it with `[roles.watchdog] match`"
    age = _age(sample)
    if age is not None and not known and age <= settings.monitors.watchdog.stale_s:
        return f"no process matches, yet its heartbeat is {duration(age)} old: {name_it}"
    return f"not found: {name_it}" if age is None else f"no process; last heartbeat {duration(age)}"


def _judge_heartbeat(
    last: Sample, history: Sequence[Sample], now: Moment, settings: Settings
) -> Health:
    """A process that started after its file was written has `stale_s` to write its first one."""
    stale_s = settings.monitors.watchdog.stale_s
    told = history[-1]
    age = file_age.ago(history, "heartbeat_at")
    started = number(last.data.get("started_at"))
    young = started is not None and last.moment.at - started <= stale_s
    problem = text(told.data.get("problem"))
    if age is None or problem:
        reason = f"no heartbeat: {problem or 'none told'}"
        if young or (problem and not problem.startswith(Problem.MISSING)):
            return Health(HealthState.UNKNOWN, visible(reason, 200))
        return Health(HealthState.FAILING, visible(f"{reason}: {told.data.get('path')}", 300))
    if age < -CLOCK_S:
        return Health(HealthState.UNKNOWN, f"clock off: heartbeat {duration(-age)} in the future")
    if age > stale_s:
        state = HealthState.UNKNOWN if young else HealthState.FAILING
        return Health(state, f"last heartbeat {duration(age)} ago")
    anomalies = ", ".join(map(str, as_list(told.data.get("anomalies"))))
    if anomalies:
        # Its report is as old as its heartbeat: what it tells of may be over.
        words = visible(f"reports {anomalies}", 300) + _as_of(age + now.since(last.moment))
        return Health(HealthState.FAILING, words, kind="reports")
    return Health(HealthState.OK)


def _as_of(age: float) -> str:
    """` as of 40s ago`, in steps of ten seconds; nothing for a report of this moment."""
    told = age // 10 * 10
    return f" as of {duration(told)} ago" if told else ""


def _age(sample: Sample) -> float | None:
    """Seconds between the heartbeat and the look, negative when it lies in the future."""
    heartbeat = number(sample.data.get("heartbeat_at"))
    return None if heartbeat is None else sample.moment.at - heartbeat


def result(sample: Sample) -> str:
    """`PID 27428, heartbeat 12s old`, and what it reports."""
    if sample.error is not None:
        return visible(sample.error, 200)
    pid = number(sample.data.get("pid"))
    age = _age(sample)
    words = ["no process" if pid is None else f"PID {pid}"]
    words.append("no heartbeat" if age is None else f"heartbeat {duration(age)} old")
    words.extend(map(str, as_list(sample.data.get("anomalies"))))
    return visible(", ".join(words), 200)
