"""The HTTP interface of the demo queue server, endpoint by endpoint."""

from __future__ import annotations

import json
import re
import signal
import socket
from datetime import datetime
from typing import Any

import pytest

LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def finish(queue: Any, task_id: str, success: bool = True, **data: object) -> Any:
    """Report a task's result as a worker does."""
    body = {"success": success, "data": data, "error": None if success else "no"}
    return queue.post(f"/api/tasks/{task_id}/result", body)


def test_health_has_every_field_and_local_time(queue: Any) -> None:
    health = queue.get("/api/health")
    stamp = health.pop("timestamp")
    assert LOCAL.fullmatch(stamp)
    assert abs((datetime.now() - datetime.fromisoformat(stamp)).total_seconds()) < 5
    assert health == {
        "status": "ok",
        "service": "task-queue-server",
        "queue_size": 0,
        "queue_urgent": 0,
        "queue_normal": 0,
        "queue_low": 0,
        "results_count": 0,
    }


def test_stats_count_tasks_by_state_and_outcome(queue: Any) -> None:
    for priority in ("urgent", "normal", "low"):
        queue.add("health_check", priority=priority)
    finish(queue, queue.get("/api/tasks/next")["task_id"])
    finish(queue, queue.get("/api/tasks/next")["task_id"], success=False)
    queue.get("/api/tasks/next")
    queue.add("wait", priority="low")
    stats = queue.get("/api/stats")
    assert LOCAL.fullmatch(stats.pop("timestamp"))
    assert stats == {
        "pending": 1,
        "pending_urgent": 0,
        "pending_normal": 0,
        "pending_low": 1,
        "inflight": 1,
        "completed": 2,
        "successful": 1,
        "failed": 1,
        "success_rate": 50.0,
        "workers": 1,
        "avg_duration_ms": 0,
    }
    assert queue.get("/api/health")["results_count"] == 2


@pytest.mark.parametrize("place", ["data", "body"])
def test_stats_average_the_reported_durations(queue: Any, place: str) -> None:
    for duration in (100, 300):
        reported = {"duration_ms": duration}
        body = (
            {"success": True, "data": reported}
            if place == "data"
            else {"success": True, **reported}
        )
        queue.post(f"/api/tasks/{queue.add('x')}/result", body)
    assert queue.get("/api/stats")["avg_duration_ms"] == 200.0


def test_tasks_are_served_by_priority_then_in_order(queue: Any) -> None:
    names = [("c", "low"), ("b1", "normal"), ("a1", "urgent"), ("b2", "normal"), ("a2", "urgent")]
    for kind, priority in names:
        queue.add(kind, priority=priority)
    served = [queue.post("/api/tasks/next", None)["type"] for _ in names]
    assert served == ["a1", "a2", "b1", "b2", "c"]
    assert queue.get("/api/tasks/next") == {"task": None}


def test_both_create_endpoints_return_the_same_fields(queue: Any) -> None:
    created = queue.post("/api/tasks/create?priority=low", {"type": "wait", "data": {"seconds": 1}})
    enqueued = queue.post(
        "/api/enqueue", {"task_type": "wait", "params": {"seconds": 2}, "priority": "urgent"}
    )
    assert created.keys() == enqueued.keys() == {"task_id", "message", "priority", "queue_position"}
    assert (created["queue_position"], enqueued["queue_position"]) == (1, 1)
    listed = queue.get("/api/tasks")
    assert listed["total_queue_size"] == 2 and listed["queue_normal"] == []
    task = listed["queue_urgent"][0]
    assert LOCAL.fullmatch(task.pop("created_at"))
    assert task == {
        "task_id": enqueued["task_id"],
        "type": "wait",
        "data": {"seconds": 2},
        "priority": "urgent",
    }


def test_inflight_names_the_worker(queue: Any) -> None:
    task_id = queue.add("wait")
    queue.ask("GET", "/api/tasks/next", headers={"X-Worker-Name": "w-7"})
    answer = queue.get("/api/inflight")
    lease = answer["inflight"][0]
    assert answer["count"] == 1
    assert lease.keys() == {"task_id", "type", "leased_at", "worker", "age_sec"}
    assert (lease["task_id"], lease["worker"]) == (task_id, "w-7")
    assert 0 <= lease["age_sec"] < 5 and abs(lease["leased_at"] - datetime.now().timestamp()) < 5


def test_ping_task_returns_500_and_records_a_result(queue: Any) -> None:
    for path, body in (
        ("/api/tasks/create", {"type": "ping"}),
        ("/api/enqueue", {"task_type": "ping"}),
    ):
        status, kind, _ = queue.ask("POST", path, body)
        assert status == 500 and kind.startswith("text/plain")
    results = queue.get("/api/results")
    assert results["count"] == 2
    assert all(item.keys() == {"success", "data"} for item in results["results"])


def test_results_ignore_the_count_parameter_and_list_oldest_first(queue: Any) -> None:
    ids = [queue.add("health_check") for _ in range(30)]
    for task_id in ids:
        assert queue.ask("GET", f"/api/results/{task_id}")[0] == 404
        assert finish(queue, task_id, execution_time=0.2)["success"] is True
    answer = queue.get("/api/results?count=5")
    assert answer["count"] == 30
    assert [item["task_id"] for item in answer["results"]] == ids
    item = queue.get(f"/api/results/{ids[0]}")
    assert item == answer["results"][0]
    assert item.keys() == {"task_id", "success", "data", "error", "submitted_at"}
    assert LOCAL.fullmatch(item["submitted_at"])


def test_repeated_result_is_ignored(queue: Any) -> None:
    task_id = queue.add("x")
    finish(queue, task_id)
    finish(queue, task_id, success=False)
    assert queue.result(task_id)["success"] is True
    assert queue.get("/api/stats")["completed"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"type": 5}',
        b'{"type": ""}',
        b'{"type": "x", "data": []}',
        b'{"type": "x", "data": {"n": NaN}}',
        b'{"type": "x", "data": {"n": 1e999}}',
        b'{"type": "x", "data": {"n": ' + b"9" * 5000 + b"}}",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:24].decode(errors="replace"),
)
def test_invalid_bodies_are_refused(queue: Any, body: bytes) -> None:
    status, kind, text = queue.ask("POST", "/api/tasks/create", body)
    assert (status, kind) == (400, "application/json")
    assert json.loads(text)["error"]
    assert queue.get("/api/health")["queue_size"] == 0


def test_invalid_requests_are_refused_with_an_error(queue: Any) -> None:
    cases = [
        (400, "POST", "/api/tasks/create?priority=soon", {"type": "x"}),
        (400, "POST", "/api/enqueue", {"task_type": "x", "priority": []}),
        (400, "POST", "/api/tasks/create", b'{"type": "' + b"x" * (2 << 20) + b'"}'),
        (400, "POST", f"/api/tasks/{queue.add('x')}/result", {"success": "yes"}),
        (400, "POST", f"/api/tasks/{queue.add('x')}/result", {"success": True, "error": 5}),
        (404, "POST", "/api/tasks/unknown/result", {"success": True}),
        (404, "GET", "/nowhere", None),
        (404, "GET", "//[", None),
        (404, "PUT", "/api/health", b"x"),
    ]
    for expected, method, path, body in cases:
        status, _, text = queue.ask(method, path, body)
        assert (status, bool(json.loads(text)["error"])) == (expected, True), path
    assert queue.process.poll() is None


def test_server_survives_malformed_requests(queue: Any) -> None:
    for raw in (b"\x00\xff\r\n\r\n", b"POST /api/enqueue HTTP/1.1\r\nContent-Length: -4\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", queue.port), 5) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            assert b"400" in connection.recv(4096)
    with socket.create_connection(("127.0.0.1", queue.port), 5) as connection:
        connection.sendall(b"POST /api/enqueue HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
    assert queue.get("/api/health")["status"] == "ok"


def test_task_is_served_again_after_its_lease_expires(bench: Any, wait_for: Any) -> None:
    queue = bench.queue("--lease-s", "0.3")
    task_id = queue.add("wait")
    assert queue.get("/api/tasks/next")["task_id"] == task_id
    assert queue.get("/api/tasks/next") == {"task": None}
    wait_for(lambda: queue.get("/api/health")["queue_size"] == 1)
    assert queue.get("/api/inflight")["count"] == 0
    assert queue.get("/api/tasks/next")["task_id"] == task_id


def test_late_result_removes_the_task_from_the_queue(bench: Any, wait_for: Any) -> None:
    queue = bench.queue("--lease-s", "0.1")
    task_id = queue.add("wait")
    queue.get("/api/tasks/next")
    wait_for(lambda: queue.get("/api/stats")["pending"] == 1)
    finish(queue, task_id)
    assert queue.get("/api/tasks/next") == {"task": None}


def test_server_listens_on_loopback_only(queue: Any) -> None:
    wanted = f"0100007F:{queue.port:04X}"
    with open("/proc/net/tcp") as table:
        listening = [row.split()[1] for row in table if row.split()[3] == "0A"]
    assert wanted in listening
    assert f"00000000:{queue.port:04X}" not in listening


def test_sigterm_ends_the_server_with_code_0(queue: Any) -> None:
    queue.process.send_signal(signal.SIGTERM)
    assert queue.process.wait(5) == 0
