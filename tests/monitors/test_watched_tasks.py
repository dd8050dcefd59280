"""Proof of work, failing tasks and losses, on a real queue server and worker."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from console.core.metrics.queue_metrics import compute_queue_metrics
from console.core.metrics.stall_detection import collect_stall_signals, find_stall_evidence
from console.core.metrics.task_outcomes import decode_outcomes
from console.core.model.samples import HealthState, Sample
from console.monitors import _queue_results, queue
from console.system.host.json_http import HttpError, fetch_json


async def look(box: Any, history: list[Sample] | None = None) -> Sample:
    one = await queue.probe(box)
    if history is not None:
        history.append(one)
    return one


def ping(url: str) -> None:
    with contextlib.suppress(HttpError):
        fetch_json(url + "/api/tasks/create", method="POST", body={"type": "ping", "data": {}})


def judged(history: Sequence[Sample], box: Any) -> Any:
    return queue.judge(history, box.now(), box.settings)


async def test_pings_are_no_proof_of_work(rig: Any, box: Any) -> None:
    box.with_queue(rig.queue())
    rig.add("wait", seconds=0)
    history: list[Sample] = []
    for _ in range(5):
        await look(box, history)
        box.offset_s += 10
        ping(rig.url)
    assert [one.data["completed"] for one in history] == [0, 1, 2, 3, 4]
    done = compute_queue_metrics({"queue": history})
    assert (done.last_finished, done.drain_s) == (
        None,
        None,
    ) and "worker" not in done.proofs_of_work
    stalled = find_stall_evidence(
        collect_stall_signals({"queue": history}), ["queue"], None, box.now().plus(-99), box.now()
    )
    assert stalled == "1 waiting, nothing finished for 40s (limit 30s, no habit known)"


async def test_result_of_a_watched_task_is_proof_of_work(rig: Any, box: Any, wait_for: Any) -> None:
    box.with_queue(rig.queue())
    rig.add("wait", seconds=0)
    before = await look(box)
    rig.worker()
    wait_for(lambda: rig.stats()["completed"] == 1)
    history = [before, await look(box)]
    assert (history[-1].data["answered"], history[-1].data["size"]) == (1, 0)
    done = compute_queue_metrics({"queue": history})
    proof = done.proofs_of_work["worker"]
    assert done.last_finished is not None
    assert proof.tick == pytest.approx(before.moment.tick, abs=0.5)
    # The next sample still has the proof.
    assert compute_queue_metrics({"queue": [await look(box)]}).proofs_of_work[
        "worker"
    ].tick == pytest.approx(proof.tick, 0.1)


async def test_task_in_work_is_watched_until_it_ends(rig: Any, box: Any, wait_for: Any) -> None:
    box.with_queue(rig.queue())
    rig.worker()
    rig.add("wait", seconds=1)
    wait_for(lambda: rig.stats()["inflight"] == 1)
    assert (await look(box)).data["answered"] == 0
    wait_for(lambda: rig.stats()["inflight"] == 0)
    assert (await look(box)).data["answered"] == 1


async def test_first_sample_reports_tasks_that_failed_before(
    rig: Any, box: Any, wait_for: Any
) -> None:
    box.with_queue(rig.queue())
    rig.worker()
    for _ in range(12):
        rig.add("nonsense")
    wait_for(lambda: rig.stats()["failed"] == 12)
    for _ in range(5):
        ping(rig.url)
    health = judged([await look(box)], box)
    assert (health.state, health.severe, health.kind) == (HealthState.FAILING, True, "tasks")
    assert health.reason.startswith("the last 12 tasks failed: 12 × ")
    assert "Unsupported task type: nonsense" in health.reason
    for _ in range(10):
        rig.add("wait", seconds=0)
    wait_for(lambda: rig.stats()["successful"] == 15)
    box.offset_s += 10
    health = judged([await look(box)], box)
    assert (health.state, health.severe, health.critical) == (HealthState.FAILING, False, True)
    assert health.reason.startswith("10 of the last 20 tasks failed: ")
    for _ in range(10):
        rig.add("wait", seconds=0)
    wait_for(lambda: rig.stats()["successful"] == 25)
    box.offset_s += 10
    last = await look(box)
    assert judged([last], box).state is HealthState.OK and last.data["tail"] is None


async def test_failure_streak_is_reported_within_two_samples(
    rig: Any, box: Any, wait_for: Any
) -> None:
    box.with_queue(rig.queue())
    rig.worker()
    rig.add("wait", seconds=0)
    wait_for(lambda: rig.stats()["completed"] == 1)
    history = [await look(box)]
    for _ in range(10):
        rig.add("nonsense")
    wait_for(lambda: rig.stats()["failed"] == 10)
    box.offset_s += 10
    await look(box, history)
    assert judged(history, box).reason.startswith("the last 10 tasks failed")
    tail = decode_outcomes(history[-1].data["tail"])
    assert tail is not None and tail.errors[0][2] == 10


# --- unbounded result lists -----------------------------------------------------------------


def answers(script: Any, completed: int, failed: int, results: list[Any] | None = None) -> None:
    script.json("/api/health", {"status": "ok", "queue_size": 0, "results_count": completed})
    counters = {"completed": completed, "failed": failed, "successful": completed - failed}
    script.json("/api/stats", {"inflight": 0, **counters})
    if results is not None:
        script.json("/api/results", {"results": results, "count": len(results)})


def bad(number: int) -> dict[str, Any]:
    return {
        "task_id": f"t{number}",
        "success": False,
        "data": {"p": "x" * 300},
        "error": "no window",
    }


async def test_result_list_is_read_first_and_then_only_after_failures(
    box: Any, script: Any
) -> None:
    box.with_queue(script.url)
    good = [{"task_id": "g", "success": True, "data": {}}]
    answers(script, 1, 0, good)
    for _ in range(3):
        await look(box)
        answers(script, 5, 0)
    assert script.asked.count("/api/results") == 1
    box.offset_s += 60
    answers(script, 1006, 1001, [*good, *map(bad, range(1005))])
    one = await look(box)
    assert script.asked.count("/api/results") == 2
    tail = decode_outcomes(one.data["tail"])
    assert tail is not None and (tail.n, tail.failed, tail.rate_total) == (20, 20, 100)


@pytest.mark.parametrize("completed", [_queue_results.MAX_RESULTS + 1, 30])
async def test_too_many_results_are_not_read_and_are_noted(
    box: Any, script: Any, completed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_queue_results, "MAX_BYTES", 5_000)
    box.with_queue(script.url)
    answers(script, completed, 30, [bad(n) for n in range(30)])
    history = [await look(box)]
    assert history[0].data["results_note"] == "results too many to read"
    answers(script, completed + 10, 40, [bad(n) for n in range(30)])
    await look(box, history)
    assert script.asked.count("/api/results") == (completed == 30), "it is not asked for again"
    assert judged(history, box).reason == "the last 10 tasks failed"


async def test_last_error_of_a_watched_task_needs_no_result_list(
    box: Any, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_queue_results, "MAX_RESULTS", 5)
    box.with_queue(script.url)
    answers(script, 30, 30)
    script.json("/api/stats", {"inflight": 1, "completed": 30, "failed": 30, "successful": 0})
    script.json("/api/inflight", {"inflight": [{"task_id": "shot", "type": "ocr", "age_sec": 1}]})
    history = [await look(box)]
    answers(script, 45, 45)
    script.json("/api/results/shot", bad(1))
    await look(box, history)
    assert judged(history, box).reason == 'the last 15 tasks failed: 1 × ocr: "no window"'


async def test_vanished_task_reveals_a_restarted_queue_server(box: Any, script: Any) -> None:
    box.with_queue(script.url)
    answers(script, 0, 0)
    script.json("/api/health", {"status": "ok", "queue_size": 1})
    script.json("/api/tasks", {"queue_normal": [{"task_id": "t1", "type": "wait"}]})
    history = [await look(box)]
    answers(script, 0, 0)
    await look(box, history)
    lost = compute_queue_metrics({"queue": history}).last_loss
    assert lost is not None and (lost.waiting, lost.inflight) == (1, 0)
