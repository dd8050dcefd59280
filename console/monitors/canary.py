"""The canary: a real task through the real queue, timed from the request to its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.model import Health, HealthState, Moment, Sample
from console.core.text.formatting import duration, visible
from console.core.text.json_values import number, table, text
from console.monitors._queue_client import ask
from console.monitors._thresholds import limit
from console.system import clock
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError
from console.system.threads import aside

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "canary"
FIELDS = (
    "ok", "failed_at", "task_id", "latency_s", "work_s", "queue_s", "detail", "output",
    "busy_task", "busy_s", "waits_s",
)  # fmt: skip
FIRST_S, GROWTH, LONGEST_S = 0.05, 1.5, 0.5
"""The waits between two looks for the result."""
HISTORY_S = 2 * 86400.0
"""How far back a canary that was not answered is looked for."""
LARGE = 8_000_000
"""Bytes of a backlog that is read once, to say where a lost task was last seen."""


def every(settings: Settings) -> float:
    """Seconds between two canaries."""
    return settings.monitors.canary.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.canary.enabled


async def probe(box: Box) -> Sample:
    """Put one `health_check` through the queue, ahead of all others, and wait for its result.

    While the one before still waits or is in work, no second one is sent.
    """
    from console.monitors._watched_tasks import watch

    seen: dict[str, Any] = dict.fromkeys(FIELDS)
    before = await _outstanding(box)
    if before is None or not await _still_waits(box, before, seen):
        watch(box.name, box.settings).canary = None
        began = clock.awake()  # not the box's clock: a night's sleep is no latency
        await _run(box, began, seen)
    seen["ok"] = seen["failed_at"] is None
    return Sample(NAME, box.now(), seen)


async def _outstanding(box: Box) -> tuple[str, Moment] | None:
    """The newest canary and when it was sent, where it had no result when it was last looked for.

    Another process may have sent it.
    """
    from console.monitors._watched_tasks import watch

    known = watch(box.name, box.settings).canary
    if known is not None:
        return known
    past = await box.history(NAME, HISTORY_S)
    last = past[-1] if past else None
    if last is None or last.data.get("failed_at") not in ("taken", "finished"):
        return None
    task_id = text(last.data.get("task_id"), 200)
    waited = number(last.data.get("waits_s")) or box.settings.monitors.canary.deadline_s
    return (task_id, last.moment.plus(-waited)) if task_id else None


async def _still_waits(box: Box, before: tuple[str, Moment], seen: dict[str, Any]) -> bool:
    """Whether that canary has no result yet and the server has it; what is known goes into `seen`.

    One that the server does not know any more went with a server that began anew.
    """
    from console.monitors._watched_tasks import watch

    task_id, sent = before
    try:
        await aside(ask, box.settings, _result_path(task_id))
    except HttpError as error:
        if error.status != 404:
            return False
    else:
        return False
    waits_s = box.now().since(sent)
    where = await _where(box, task_id, f"for {duration(waits_s)}", "")
    if where.pop("gone", False):
        return False
    seen.update(where, task_id=task_id, waits_s=round(waits_s, 1))
    watch(box.name, box.settings).canary = before
    return True


async def _run(box: Box, began: float, seen: dict[str, Any]) -> None:
    from console.monitors._watched_tasks import remember_canary, watch

    settings = box.settings
    try:
        path = "/api/tasks/create?priority=urgent"
        created = await aside(ask, settings, path, body={"type": "health_check", "data": {}})
    except HttpError as error:
        seen.update(failed_at="accepted", detail=str(error))
        return
    task_id = seen["task_id"] = text(table(created).get("task_id"), 200)
    if not task_id:
        seen.update(failed_at="accepted", detail="the answer names no task")
        return
    remember_canary(task_id)
    sent = box.now()
    ends = began + settings.monitors.canary.deadline_s
    item, trouble = await _await_result(settings, task_id, ends)
    if item is None:
        within = f"within {settings.monitors.canary.deadline_s:g} s"
        seen.update(await _where(box, task_id, within, trouble))
        if not seen.pop("gone", False):
            watch(box.name, settings).canary = task_id, sent
        return
    seen.update(_answer(item, clock.awake() - began))


def _result_path(task_id: str) -> str:
    from urllib.parse import quote

    return f"/api/results/{quote(task_id, safe='')}"


async def _await_result(
    settings: Settings, task_id: str, ends: float
) -> tuple[Mapping[str, Any] | None, str]:
    """The task's result, or None at the deadline, and the last trouble on the way."""
    from asyncio import sleep

    pause, trouble = FIRST_S, ""
    while (left := ends - clock.awake()) > 0:
        await sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_S)
        try:
            path = _result_path(task_id)
            # A last look is worth a moment more than the deadline has left.
            item = await aside(ask, settings, path, deadline_s=max(left, LONGEST_S))
            return table(item), ""
        except HttpError as error:
            trouble = "" if error.status == 404 else str(error)
    return None, trouble


def _answer(item: Mapping[str, Any], latency_s: float) -> dict[str, Any]:
    """What a result says; `work_s` and `queue_s` only where the worker told its own time."""
    data = item.get("data")
    work_s = number(table(data).get("execution_time"))
    told = work_s is not None and 0 <= work_s <= latency_s
    seen: dict[str, Any] = {
        "latency_s": round(latency_s, 4),
        "work_s": work_s if told else None,
        "queue_s": round(latency_s - work_s, 4) if told and work_s is not None else None,
        "output": visible(json.dumps(data, ensure_ascii=False), 2000),
    }
    if item.get("success") is not True:
        reason = text(item.get("error")) or "the result does not say that it succeeded"
        seen.update(failed_at="answer", detail=visible(reason, 200))
    return seen


async def _where(box: Box, task_id: str, within: str, trouble: str) -> dict[str, Any]:
    """How far a task without a result came: still queued, in work, or `gone`.

    Where it is queued and another task is in work, `busy_task` and `busy_s` name that one.
    """
    from console.monitors._watched_tasks import listed, oldest_first

    settings = box.settings
    try:
        leases = oldest_first(await aside(ask, settings, "/api/inflight", limit=LARGE))
        for lease in leases:
            if lease.get("task_id") == task_id:
                by = visible(text(lease.get("worker")) or "somebody", 60)
                return {"failed_at": "finished", "detail": f"taken by {by}, no result {within}"}
        waiting = listed(await aside(ask, settings, "/api/tasks", limit=LARGE))
    except HttpError as error:
        return {"failed_at": "finished", "detail": f"no result {within}: {trouble or error}"}
    if any(task.get("task_id") == task_id for task in waiting):
        return {"failed_at": "taken", **_busy(box, leases, within)}
    lost = trouble or "neither queued nor in work"
    return {"failed_at": "finished", "detail": f"no result {within}: {lost}", "gone": not trouble}


def _busy(box: Box, leases: Sequence[Mapping[str, Any]], within: str) -> dict[str, Any]:
    """What the worker is busy with, if a task is in work."""
    from console.monitors._watched_tasks import watch

    aged = [(number(one.get("age_sec")), one) for one in leases]
    known = [(age, one) for age, one in aged if age is not None]
    if known:
        age, lease = known[-1]  # the youngest: an older one may be a dead worker's
        kind, held = visible(text(lease.get("type"), 60) or "a task"), age
    elif (over := watch(box.name, box.settings).overrun(box.now())) is not None:
        kind, held = over
    else:
        return {"detail": f"no worker took it {within}"}
    words = f"the worker is busy: {kind} for {duration(held)}"
    return {"detail": words, "busy_task": kind, "busy_s": round(held, 1)}


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """By the newest canary alone: at half an hour between two, none is a blip."""
    if not history:
        return Health(HealthState.UNKNOWN, "no canary yet")
    last = history[-1]
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    if last.data.get("ok") is not True:
        busy = number(last.data.get("busy_s")) is not None
        return Health(
            HealthState.FAILING, result(last), severe=not busy, kind="busy" if busy else ""
        )
    most = limit(settings.monitors.canary.slow_s, learnt.latency_s if learnt else None, None)
    latency = number(last.data.get("latency_s"))
    if most and latency is not None and latency > most.value:
        reason = _answered(last, most.words("above", " s"))
        return Health(HealthState.FAILING, reason, severe=False)
    return Health(HealthState.OK, result(last))


def result(sample: Sample) -> str:
    """`answered in 0.84 s: 0.31 queue, 0.53 work`, or where it failed and why."""
    if sample.error is not None:
        return visible(sample.error, 200)
    if sample.data.get("ok") is True:
        return _answered(sample)
    stage = text(sample.data.get("failed_at")) or "?"
    said = {"answer": "wrong answer"}.get(stage, f"not {stage}")
    if number(sample.data.get("busy_s")) is not None:
        said += " yet"
    detail = text(sample.data.get("detail"))
    return visible(f"{said}: {detail}" if detail else said, 200)


def _answered(sample: Sample, limit: str = "") -> str:
    """How long it took, and where: in the queue, and in the worker that told its own time."""
    latency, queue, work = (number(sample.data.get(k)) for k in ("latency_s", "queue_s", "work_s"))
    if latency is None:
        return "answered"
    split = f": {queue:.2f} queue, {work:.2f} work" if None not in (queue, work) else ""
    return f"answered in {latency:.2f} s{limit}{split}"
