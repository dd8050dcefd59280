"""The watchdog: its process, its heartbeat, and the anomalies that it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.metrics import file_age
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import (
    as_bool,
    as_count,
    as_list,
    as_number,
    as_object,
    as_text,
    parse_local_time,
)
from console.system import clock
from console.system.config.schema import Settings
from console.system.files.safe_files import FileError, FileProblem
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "watchdog"
SAMPLE_FIELDS = (
    "pid", "ticks", "started_at", "instances", "heartbeat_at", "anomalies", "health_ok",
    "queue_size", "path", "problem", "recommendations", file_age.SLEPT_KEY,
)  # fmt: skip
MAX_RECOMMENDATIONS = 5
"""Maximum number of recommendations in a sample."""
CLOCK_TOLERANCE_S = 60.0
"""A heartbeat this many seconds in the future shows that a clock is wrong."""


def every(settings: Settings) -> float:
    """Return the interval between two samples, in seconds."""
    return settings.monitors.watchdog.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.watchdog.enabled


def _status_path(box: Box) -> Path:
    return box.outputs_dir / Path(box.settings.monitors.watchdog.file).expanduser()


async def probe(box: Box) -> Sample:
    """Return a sample of the watchdog's oldest process and of its status file."""
    path = _status_path(box)
    sample_data: dict[str, Any] = dict.fromkeys(SAMPLE_FIELDS) | {
        "anomalies": [],
        "path": str(path),
    }
    sample_data[file_age.SLEPT_KEY] = clock.suspended_s()
    instances = await box.find_instances(NAME)
    sample_data["instances"] = len(instances)
    if instances:
        oldest = min(instances, key=lambda instance: instance.root.started.tick)
        sample_data.update(
            pid=oldest.pid, ticks=oldest.identity.ticks, started_at=oldest.root.started.at
        )
    try:
        status, written_at = await run_in_thread(box.outside_directory.read_json, path)
        sample_data.update(_parse_status(as_object(status), box.now(), written_at))
    except FileError as error:
        sample_data["problem"] = str(error)
    return Sample(NAME, box.now(), sample_data)


def _parse_status(status: Mapping[str, Any], now: Moment, written_at: float) -> dict[str, Any]:
    heartbeat = parse_local_time(status.get("timestamp"), now, UTC, written_at)
    anomaly_names = (as_text(name, 100) for name in as_list(status.get("anomalies"))[:20])
    return {
        "heartbeat_at": heartbeat,
        "anomalies": [sanitize_text(name) for name in anomaly_names if name],
        "recommendations": [
            sanitize_text(text, 200)
            for item in as_list(status.get("recommendations"))[:MAX_RECOMMENDATIONS]
            if (text := as_text(item, 200))
        ],
        "health_ok": as_bool(status.get("health_ok")),
        "queue_size": as_count(status.get("queue_size")),
        "problem": None if heartbeat is not None else "no heartbeat in it",
    }


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Return the health: failing for no process, an outdated heartbeat or a reported anomaly.

    A file that is read half-written is tolerated once: the heartbeat of the previous sample counts.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "not looked yet")
    last = history[-1]
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    if as_number(last.data.get("pid")) is None:
        has_been_seen = any(as_number(sample.data.get("pid")) is not None for sample in history)
        return Health(HealthState.FAILING, _absence_text(last, settings, has_been_seen))
    is_truncated = (as_text(last.data.get("problem")) or "").startswith(FileProblem.TRUNCATED)
    if is_truncated and len(history) > 1 and history[-2].error is None:
        return _judge_heartbeat(last, history[:-1], now, settings)
    return _judge_heartbeat(last, history, now, settings)


def _absence_text(sample: Sample, settings: Settings, has_been_seen: bool) -> str:
    """Return why no process was found.

    The hint on `[roles.watchdog] match` is omitted if a process was seen before: its name is known.
    """
    hint = "name it with `[roles.watchdog] match`"
    age_s = _heartbeat_age_s(sample)
    if age_s is not None and not has_been_seen and age_s <= settings.monitors.watchdog.stale_s:
        return f"no process matches, yet its heartbeat is {format_duration(age_s)} old: {hint}"
    return (
        f"not found: {hint}"
        if age_s is None
        else f"no process; last heartbeat {format_duration(age_s)}"
    )


def _judge_heartbeat(
    last: Sample, history: Sequence[Sample], now: Moment, settings: Settings
) -> Health:
    """Return the health of a running watchdog by its heartbeat and its reported anomalies.

    A process that started after its file was written has `stale_s` to write its first heartbeat.
    """
    stale_s = settings.monitors.watchdog.stale_s
    reported = history[-1]
    age_s = file_age.file_age_s(history, "heartbeat_at")
    started_at = as_number(last.data.get("started_at"))
    is_young = started_at is not None and last.moment.at - started_at <= stale_s
    problem = as_text(reported.data.get("problem"))
    if age_s is None or problem:
        reason = f"no heartbeat: {problem or 'none told'}"
        if is_young or (problem and not problem.startswith(FileProblem.MISSING)):
            return Health(HealthState.UNKNOWN, sanitize_text(reason, 200))
        return Health(
            HealthState.FAILING, sanitize_text(f"{reason}: {reported.data.get('path')}", 300)
        )
    if age_s < -CLOCK_TOLERANCE_S:
        return Health(
            HealthState.UNKNOWN, f"clock off: heartbeat {format_duration(-age_s)} in the future"
        )
    if age_s > stale_s:
        state = HealthState.UNKNOWN if is_young else HealthState.FAILING
        return Health(state, f"last heartbeat {format_duration(age_s)} ago")
    anomalies = ", ".join(map(str, as_list(reported.data.get("anomalies"))))
    if anomalies:
        # The report is as old as the heartbeat: the anomaly may be over.
        report_text = sanitize_text(f"reports {anomalies}", 300) + _report_age_text(
            age_s + now.since(last.moment)
        )
        return Health(HealthState.FAILING, report_text, kind="reports")
    return Health(HealthState.OK)


def _report_age_text(age: float) -> str:
    """Return ` as of 40s ago`, in steps of ten seconds; "" for a report under ten seconds old."""
    rounded_s = age // 10 * 10
    return f" as of {format_duration(rounded_s)} ago" if rounded_s else ""


def _heartbeat_age_s(sample: Sample) -> float | None:
    """Return the age of the heartbeat at the sample, in seconds; negative if it is in the future.

    None if there is no heartbeat.
    """
    heartbeat = as_number(sample.data.get("heartbeat_at"))
    return None if heartbeat is None else sample.moment.at - heartbeat


def result(sample: Sample) -> str:
    """Return `PID 27428, heartbeat 12s old`, and the reported anomalies."""
    if sample.error is not None:
        return sanitize_text(sample.error, 200)
    pid = as_number(sample.data.get("pid"))
    age = _heartbeat_age_s(sample)
    parts = ["no process" if pid is None else f"PID {pid}"]
    parts.append("no heartbeat" if age is None else f"heartbeat {format_duration(age)} old")
    parts.extend(map(str, as_list(sample.data.get("anomalies"))))
    return sanitize_text(", ".join(parts), 200)
