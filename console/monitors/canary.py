"""The canary: a real task through the real queue, timed from the request to its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_number, as_object, as_text
from console.monitors._queue_client import request_json
from console.monitors._thresholds import choose_limit
from console.system import clock
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "canary"
SAMPLE_FIELDS = (
    "ok", "failed_at", "task_id", "latency_s", "work_s", "queue_s", "detail", "output",
    "busy_task", "busy_s", "waits_s",
)  # fmt: skip
FIRST_POLL_DELAY_S, POLL_DELAY_GROWTH, MAX_POLL_DELAY_S = 0.05, 1.5, 0.5
"""Polling for the result: the first delay, its growth factor and the maximum, in seconds."""
LOOK_BACK_S = 2 * 86400.0
"""Maximum age in seconds of the sample of a pending canary."""
MAX_BACKLOG_BYTES = 8_000_000
"""Maximum bytes of a backlog that is read once, to find where a lost task was last seen."""


def every(settings: Settings) -> float:
    """Return the interval between two canaries, in seconds."""
    return settings.monitors.canary.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.canary.enabled


async def probe(box: Box) -> Sample:
    """Send one `health_check` through the queue, ahead of all others, and wait for its result.

    While the previous canary is still waiting or in work, no second one is sent.
    """
    from console.monitors._watched_tasks import get_watcher

    sample_data: dict[str, Any] = dict.fromkeys(SAMPLE_FIELDS)
    pending_canary = await _find_pending_canary(box)
    if pending_canary is None or not await _is_still_pending(box, pending_canary, sample_data):
        get_watcher(box.name, box.settings).pending_canary = None
        # Unlike the box's clock, this one excludes the time that the machine is suspended.
        started_at = clock.monotonic()
        await _send_canary(box, started_at, sample_data)
    sample_data["ok"] = sample_data["failed_at"] is None
    return Sample(NAME, box.now(), sample_data)


async def _find_pending_canary(box: Box) -> tuple[str, Moment] | None:
    """Return (task id, time sent) of the newest canary, if it had no result at the last check.

    Else None. Another process may have sent it.
    """
    from console.monitors._watched_tasks import get_watcher

    pending_canary = get_watcher(box.name, box.settings).pending_canary
    if pending_canary is not None:
        return pending_canary
    samples = await box.read_samples(NAME, LOOK_BACK_S)
    last = samples[-1] if samples else None
    if last is None or last.data.get("failed_at") not in ("taken", "finished"):
        return None
    task_id = as_text(last.data.get("task_id"), 200)
    waited_s = as_number(last.data.get("waits_s")) or box.settings.monitors.canary.deadline_s
    return (task_id, last.moment.plus(-waited_s)) if task_id else None


async def _is_still_pending(
    box: Box, pending_canary: tuple[str, Moment], sample_data: dict[str, Any]
) -> bool:
    """Return True if that canary has no result yet and the server has it.

    Its location is put into `sample_data`. A canary that the server does not know was lost in a
    restart of the server.
    """
    from console.monitors._watched_tasks import get_watcher

    task_id, sent_at = pending_canary
    try:
        await run_in_thread(request_json, box.settings, _result_path(task_id))
    except HttpError as error:
        if error.status != 404:
            return False
    else:
        return False
    waits_s = box.now().since(sent_at)
    location = await _locate_task(box, task_id, f"for {format_duration(waits_s)}", "")
    if location.pop("gone", False):
        return False
    sample_data.update(location, task_id=task_id, waits_s=round(waits_s, 1))
    get_watcher(box.name, box.settings).pending_canary = pending_canary
    return True


async def _send_canary(box: Box, started_at: float, sample_data: dict[str, Any]) -> None:
    from console.monitors._watched_tasks import get_watcher, remember_canary

    settings = box.settings
    try:
        path = "/api/tasks/create?priority=urgent"
        created = await run_in_thread(
            request_json, settings, path, body={"type": "health_check", "data": {}}
        )
    except HttpError as error:
        sample_data.update(failed_at="accepted", detail=str(error))
        return
    task_id = sample_data["task_id"] = as_text(as_object(created).get("task_id"), 200)
    if not task_id:
        sample_data.update(failed_at="accepted", detail="the answer names no task")
        return
    remember_canary(task_id)
    sent_at = box.now()
    deadline = started_at + settings.monitors.canary.deadline_s
    item, last_error = await _await_result(settings, task_id, deadline)
    if item is None:
        within = f"within {settings.monitors.canary.deadline_s:g} s"
        sample_data.update(await _locate_task(box, task_id, within, last_error))
        if not sample_data.pop("gone", False):
            get_watcher(box.name, settings).pending_canary = task_id, sent_at
        return
    sample_data.update(_result_data(item, clock.monotonic() - started_at))


def _result_path(task_id: str) -> str:
    from urllib.parse import quote

    return f"/api/results/{quote(task_id, safe='')}"


async def _await_result(
    settings: Settings, task_id: str, deadline: float
) -> tuple[Mapping[str, Any] | None, str]:
    """Return (the task's result or None at the deadline, the last error on the way or "")."""
    from asyncio import sleep

    delay_s, last_error = FIRST_POLL_DELAY_S, ""
    while (remaining_s := deadline - clock.monotonic()) > 0:
        await sleep(min(delay_s, remaining_s))
        delay_s = min(delay_s * POLL_DELAY_GROWTH, MAX_POLL_DELAY_S)
        try:
            path = _result_path(task_id)
            # The last request may take a little longer than the deadline leaves.
            item = await run_in_thread(
                request_json, settings, path, deadline_s=max(remaining_s, MAX_POLL_DELAY_S)
            )
            return as_object(item), ""
        except HttpError as error:
            last_error = "" if error.status == 404 else str(error)
    return None, last_error


def _result_data(item: Mapping[str, Any], latency_s: float) -> dict[str, Any]:
    """Return the sample data of a result.

    `work_s` and `queue_s` are None unless the worker reported its own time.
    """
    data = item.get("data")
    work_s = as_number(as_object(data).get("execution_time"))
    has_work_time = work_s is not None and 0 <= work_s <= latency_s
    sample_data: dict[str, Any] = {
        "latency_s": round(latency_s, 4),
        "work_s": work_s if has_work_time else None,
        "queue_s": round(latency_s - work_s, 4) if has_work_time and work_s is not None else None,
        "output": sanitize_text(json.dumps(data, ensure_ascii=False), 2000),
    }
    if item.get("success") is not True:
        reason = as_text(item.get("error")) or "the result does not say that it succeeded"
        sample_data.update(failed_at="answer", detail=sanitize_text(reason, 200))
    return sample_data


async def _locate_task(box: Box, task_id: str, within: str, last_error: str) -> dict[str, Any]:
    """Return the location of a task without a result: still queued, in work, or `gone`.

    If it is queued while another task is in work, `busy_task` and `busy_s` describe that one.
    """
    from console.monitors._watched_tasks import parse_leases, parse_waiting_tasks

    settings = box.settings
    try:
        leases = parse_leases(
            await run_in_thread(
                request_json, settings, "/api/inflight", max_bytes=MAX_BACKLOG_BYTES
            )
        )
        for lease in leases:
            if lease.get("task_id") == task_id:
                worker = sanitize_text(as_text(lease.get("worker")) or "somebody", 60)
                return {"failed_at": "finished", "detail": f"taken by {worker}, no result {within}"}
        waiting = parse_waiting_tasks(
            await run_in_thread(request_json, settings, "/api/tasks", max_bytes=MAX_BACKLOG_BYTES)
        )
    except HttpError as error:
        return {"failed_at": "finished", "detail": f"no result {within}: {last_error or error}"}
    if any(task.get("task_id") == task_id for task in waiting):
        return {"failed_at": "taken", **_busy_task_data(box, leases, within)}
    reason = last_error or "neither queued nor in work"
    return {
        "failed_at": "finished",
        "detail": f"no result {within}: {reason}",
        "gone": not last_error,
    }


def _busy_task_data(box: Box, leases: Sequence[Mapping[str, Any]], within: str) -> dict[str, Any]:
    """Return the task in work as `busy_task` and `busy_s`, or a detail that no worker took any."""
    from console.monitors._watched_tasks import get_watcher

    aged_leases = [(as_number(entry.get("age_sec")), entry) for entry in leases]
    leases_with_age = [(age, entry) for age, entry in aged_leases if age is not None]
    if leases_with_age:
        age, lease = leases_with_age[-1]  # the youngest: an older one may belong to a dead worker
        kind, held_s = sanitize_text(as_text(lease.get("type"), 60) or "a task"), age
    elif (overrun := get_watcher(box.name, box.settings).find_overrun_task(box.now())) is not None:
        kind, held_s = overrun
    else:
        return {"detail": f"no worker took it {within}"}
    words = f"the worker is busy: {kind} for {format_duration(held_s)}"
    return {"detail": words, "busy_task": kind, "busy_s": round(held_s, 1)}


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Judge by the newest canary alone.

    Canaries are half an hour apart: a failure is never dismissed as a passing one.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "no canary yet")
    last = history[-1]
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    if last.data.get("ok") is not True:
        is_busy = as_number(last.data.get("busy_s")) is not None
        return Health(
            HealthState.FAILING, result(last), severe=not is_busy, kind="busy" if is_busy else ""
        )
    limit = choose_limit(
        settings.monitors.canary.slow_s, learnt.latency_s if learnt else None, None
    )
    latency = as_number(last.data.get("latency_s"))
    if limit and latency is not None and latency > limit.value:
        reason = _answer_text(last, limit.describe("above", " s"))
        return Health(HealthState.FAILING, reason, severe=False)
    return Health(HealthState.OK, result(last))


def result(sample: Sample) -> str:
    """Return `answered in 0.84 s: 0.31 queue, 0.53 work`, or where it failed and why."""
    if sample.error is not None:
        return sanitize_text(sample.error, 200)
    if sample.data.get("ok") is True:
        return _answer_text(sample)
    stage = as_text(sample.data.get("failed_at")) or "?"
    failure = {"answer": "wrong answer"}.get(stage, f"not {stage}")
    if as_number(sample.data.get("busy_s")) is not None:
        failure += " yet"
    detail = as_text(sample.data.get("detail"))
    return sanitize_text(f"{failure}: {detail}" if detail else failure, 200)


def _answer_text(sample: Sample, limit_text: str = "") -> str:
    """Return the latency; if the worker reported its time, with the split into queue and work."""
    latency, queue, work = (
        as_number(sample.data.get(k)) for k in ("latency_s", "queue_s", "work_s")
    )
    if latency is None:
        return "answered"
    split = f": {queue:.2f} queue, {work:.2f} work" if None not in (queue, work) else ""
    return f"answered in {latency:.2f} s{limit_text}{split}"
