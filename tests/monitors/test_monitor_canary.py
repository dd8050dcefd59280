"""The canary monitor, on a real queue server and on one that misbehaves."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from console.core.baseline.thresholds import Thresholds
from console.core.model.samples import HealthState, Sample
from console.core.model.time import Moment
from console.monitors import _watched_tasks, canary, queue
from console.system.config.schema import Canary, Monitors, Settings

NOW = Moment(1_762_165_640.0, 5000.0, "b1")
TASK = {"task_id": "t1"}


async def test_answered_canary_records_its_latency(rig: Any, box: Any) -> None:
    box.with_queue(rig.queue())
    rig.worker()
    seen = (await canary.probe(box)).data
    assert (seen["ok"], seen["failed_at"], seen["detail"]) == (True, None, None)
    assert 0 < seen["latency_s"] < 10
    assert seen["work_s"] + seen["queue_s"] == pytest.approx(seen["latency_s"], abs=1e-3)
    assert '"status": "ok"' in seen["output"]
    assert rig.stats()["completed"] == 1


def forget() -> None:
    """Clear the state that this process keeps about queues."""
    _watched_tasks._WATCHERS.clear()


async def test_canary_goes_ahead_of_waiting_tasks(rig: Any, box: Any) -> None:
    box.with_queue(rig.queue())
    for _ in range(5):
        rig.add("wait", seconds=5)
    rig.worker()
    box.with_monitor("canary", deadline_s=20)
    assert (await canary.probe(box)).data["latency_s"] < 10


async def test_canary_without_a_worker_is_not_taken(rig: Any, box: Any) -> None:
    box.with_queue(rig.queue()).with_monitor("canary", deadline_s=0.3)
    sample = await canary.probe(box)
    assert (sample.data["ok"], sample.data["failed_at"]) == (False, "taken")
    assert canary.result(sample) == "not taken: no worker took it within 0.3 s"


async def test_canary_taken_by_a_hung_worker_is_not_finished(
    rig: Any, box: Any, script: Any
) -> None:
    script.json("/api/tasks/create", TASK)
    script.json("/api/inflight", {"inflight": {"task_id": "t1", "worker": "w\x1b[31m"}})
    box.with_queue(script.url).with_monitor("canary", deadline_s=0.3)
    sample = await canary.probe(box)
    assert sample.data["failed_at"] == "finished"
    assert "taken by w\\x1b[31m, no result" in sample.data["detail"]


async def test_canary_is_not_taken_by_a_stopped_worker(rig: Any, box: Any, wait_for: Any) -> None:
    box.with_queue(rig.queue()).with_monitor("canary", deadline_s=0.5)
    worker = rig.worker()
    task = rig.add("health_check")
    wait_for(lambda: rig.stats()["completed"] == 1)
    os.kill(worker.pid, signal.SIGSTOP)
    seen = (await canary.probe(box)).data
    os.kill(worker.pid, signal.SIGCONT)
    assert seen["failed_at"] == "taken" and seen["task_id"] != task


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ((500, "text/plain", b"Internal Server Error"), "500: Internal Server Error"),
        ((200, "text/html", b"<html>"), "not JSON (text/html)"),
        ((200, "application/json", b"[]"), "the answer names no task"),
        ((200, "application/json", b'{"task_id": 5}'), "the answer names no task"),
    ],
)
async def test_canary_refused_by_the_queue_server_is_not_accepted(
    box: Any, script: Any, answer: Any, detail: str
) -> None:
    script.answers["/api/tasks/create"] = answer
    sample = await canary.probe(box.with_queue(script.url))
    assert (sample.data["failed_at"], sample.data["detail"]) == ("accepted", detail)
    assert canary.judge([sample], NOW, box.settings).state is HealthState.FAILING


async def test_canary_to_a_closed_port_is_not_accepted(box: Any) -> None:
    sample = await canary.probe(box.with_queue("http://127.0.0.1:9"))
    assert canary.result(sample) == "not accepted: refused"


@pytest.mark.parametrize(
    ("item", "failed_at", "detail"),
    [
        ({"success": True, "data": {}}, None, None),
        ({"success": True, "data": {"execution_time": "soon"}}, None, None),
        ({"success": True, "data": {"execution_time": 1e9}}, None, None),
        ({"success": False, "data": {}, "error": "Unsupported"}, "answer", "Unsupported"),
        ({"success": 1}, "answer", "the result does not say that it succeeded"),
        ([], "answer", "the result does not say that it succeeded"),
    ],
)
async def test_canary_checks_the_answer(
    box: Any, script: Any, item: object, failed_at: str | None, detail: str | None
) -> None:
    script.json("/api/tasks/create", TASK)
    script.json("/api/results/t1", item)
    seen = (await canary.probe(box.with_queue(script.url))).data
    assert (seen["failed_at"], seen["detail"]) == (failed_at, detail)
    assert (seen["work_s"], seen["queue_s"]) == (None, None)
    assert seen["ok"] == (failed_at is None)


async def test_canary_survives_server_errors_while_waiting(box: Any, script: Any) -> None:
    script.json("/api/tasks/create", {"task_id": "../x y"})
    script.answers["/api/results/..%2Fx%20y"] = (500, "text/plain", b"busy")
    box.with_queue(script.url).with_monitor("canary", deadline_s=0.2)
    seen = (await canary.probe(box)).data
    assert seen["failed_at"] == "finished"
    assert seen["detail"] == "no result within 0.2 s: 500: busy"
    script.json("/api/tasks", {"queue_urgent": {"task_id": "../x y"}})
    script.json("/api/inflight", {"inflight": None})
    assert (await canary.probe(box)).data["failed_at"] == "taken"
    del script.answers["/api/results/..%2Fx%20y"]
    script.asked.clear()
    assert (await canary.probe(box)).data["failed_at"] == "taken"
    assert "/api/tasks/create" not in script.asked, "the one before still waits"
    script.json("/api/tasks", {})
    assert "neither queued nor in work" in (await canary.probe(box)).data["detail"]


async def test_canary_reports_a_busy_worker_and_sends_no_second_task(
    rig: Any, box: Any, wait_for: Any
) -> None:
    box.with_queue(rig.queue()).with_monitor("canary", deadline_s=0.3)
    rig.worker()
    rig.add("wait", seconds=8)
    wait_for(lambda: rig.stats()["inflight"] == 1)
    first = await canary.probe(box)
    box.samples.append(first)
    health = canary.judge([first], box.now(), box.settings)
    assert (health.state, health.severe, health.kind) == (HealthState.FAILING, False, "busy")
    assert health.reason.startswith("not taken yet: the worker is busy: wait for ")
    second = await canary.probe(box)
    assert second.data["task_id"] == first.data["task_id"], "no second one waits behind the first"
    assert second.data["waits_s"] > 0 and rig.stats()["pending_urgent"] == 1
    forget()  # The state is that of a new process.
    assert (await canary.probe(box)).data["task_id"] == first.data["task_id"]
    wait_for(lambda: rig.stats()["completed"] == 2)
    box.with_monitor("canary", deadline_s=10)
    third = await canary.probe(box)
    assert third.data["ok"] and third.data["task_id"] != first.data["task_id"]


async def test_worker_is_busy_after_its_task_lease_expired(box: Any, script: Any) -> None:
    """The server queues a task again after 120 s. The worker that took it may still run it."""
    box.with_queue(script.url).with_monitor("canary", deadline_s=0.1)
    script.json("/api/health", {"status": "ok", "queue_size": 0})
    script.json("/api/stats", {"inflight": 1, "completed": 0, "failed": 0, "successful": 0})
    script.json("/api/inflight", {"inflight": [{"task_id": "w", "type": "rpa", "age_sec": 118}]})
    await queue.probe(box)
    script.json("/api/health", {"status": "ok", "queue_size": 1})
    script.json("/api/stats", {"inflight": 0, "completed": 0, "failed": 0, "successful": 0})
    script.json("/api/inflight", {"inflight": []})
    script.json("/api/tasks", {"queue_normal": [{"task_id": "w", "type": "rpa"}]})
    box.offset_s += 5
    seen = (await queue.probe(box)).data
    assert (seen["overrun_task"], round(seen["overrun_s"])) == ("rpa", 123)
    script.json("/api/tasks/create", TASK)
    script.json("/api/tasks", {"queue_urgent": [TASK], "queue_normal": [{"task_id": "w"}]})
    last = await canary.probe(box)
    assert canary.result(last) == "not taken yet: the worker is busy: rpa for 2m"


async def test_canary_lost_by_the_queue_server_is_sent_again(box: Any, script: Any) -> None:
    box.with_queue(script.url).with_monitor("canary", deadline_s=0.1)
    script.json("/api/tasks/create", TASK)
    script.json("/api/tasks", {"queue_urgent": [TASK]})
    script.json("/api/inflight", {"inflight": []})
    await canary.probe(box)
    script.json("/api/tasks", {"queue_urgent": []})
    script.json("/api/tasks/create", {"task_id": "t2"})
    script.json("/api/results/t2", {"success": True, "data": {}})
    assert (await canary.probe(box)).data["ok"] is True


async def test_canary_output_is_bounded_and_sanitized(box: Any, script: Any) -> None:
    script.json("/api/tasks/create", TASK)
    script.json("/api/results/t1", {"success": True, "data": {"x": "\u202e" + "y" * 100_000}})
    output = (await canary.probe(box.with_queue(script.url))).data["output"]
    assert len(output) < 2100 and output.isprintable() and "\\u202e" in output


def test_newest_canary_sample_decides() -> None:
    good = Sample("canary", NOW, {"ok": True, "latency_s": 0.312})
    bad = Sample("canary", NOW, {"ok": False, "failed_at": "answer", "detail": "no"})
    assert canary.judge([bad, good], NOW, Settings()).reason == "answered in 0.31 s"
    health = canary.judge([good, bad], NOW, Settings())
    assert (health.state, health.reason) == (HealthState.FAILING, "wrong answer: no")


@pytest.mark.parametrize(
    ("slow_s", "learnt_s", "reason"),
    [
        (None, None, ""),
        (None, 0.5, "answered in 0.80 s, above the learnt 0.5 s"),
        (0.7, 0.5, "answered in 0.80 s, above the configured 0.7 s"),
        (1.0, 0.5, ""),
    ],
)
def test_slow_canary_is_failing(slow_s: float | None, learnt_s: float | None, reason: str) -> None:
    settings = Settings(monitors=Monitors(canary=Canary(slow_s=slow_s)))
    one = Sample("canary", NOW, {"ok": True, "latency_s": 0.8})
    health = canary.judge([one], NOW, settings, Thresholds(latency_s=learnt_s))
    assert health.reason == (reason or "answered in 0.80 s")
    split = {"queue_s": 0.25, "work_s": 0.55}
    timed = Sample("canary", NOW, {**one.data, **split})
    where = canary.judge([timed], NOW, settings, Thresholds(latency_s=learnt_s)).reason
    assert where == f"{health.reason}: 0.25 queue, 0.55 work"
    assert (health.state is HealthState.FAILING) is (not health.severe) is bool(reason)
