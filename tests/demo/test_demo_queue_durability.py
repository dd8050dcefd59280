"""The state of the demo queue server after SIGKILL."""

from __future__ import annotations

import http.client
import threading
import time
from pathlib import Path
from typing import Any

from console.demo.task_store import TaskStore


def test_accepted_tasks_survive_kills_under_load(bench: Any, tmp_path: Path) -> None:
    """Each round kills the server under load; acknowledged tasks must survive the restart."""
    queue = bench.queue("--state", str(tmp_path / "state"))
    accepted: set[str] = set()
    for _ in range(5):
        busy = threading.Event()
        adders = [
            threading.Thread(target=add_until_dead, args=(queue, accepted, busy)) for _ in "ab"
        ]
        before = len(accepted)
        for adder in adders:
            adder.start()
        assert busy.wait(10)
        queue.kill()
        for adder in adders:
            adder.join(10)
        assert len(accepted) > before
        queue.start()
        listed = {task["task_id"] for task in queue.get("/api/tasks")["queue_normal"]}
        assert accepted <= listed
        # at most one unacknowledged task per adder and round
        assert len(listed) <= len(accepted) + 10


def add_until_dead(queue: Any, accepted: set[str], busy: threading.Event) -> None:
    """Add tasks until the server is gone, and set `busy` after 41 acknowledgements."""
    for turn in range(5000):
        try:
            accepted.add(queue.add("wait", {"turn": turn}))
        except (OSError, http.client.HTTPException):
            return
        if turn == 40:
            busy.set()


def test_leased_task_returns_after_a_crash_and_a_done_one_does_not(
    bench: Any, tmp_path: Path
) -> None:
    queue = bench.queue("--state", str(tmp_path / "state"))
    done, leased, waiting = (queue.add(kind) for kind in ("done", "leased", "waiting"))
    assert queue.get("/api/tasks/next")["task_id"] == done
    queue.post(f"/api/tasks/{done}/result", {"success": False, "error": "no"})
    assert queue.get("/api/tasks/next")["task_id"] == leased
    queue.kill()
    queue.start()
    listed = [task["task_id"] for task in queue.get("/api/tasks")["queue_normal"]]
    assert listed == [leased, waiting]
    assert queue.result(done)["error"] == "no"
    stats = queue.get("/api/stats")
    assert (stats["completed"], stats["failed"], stats["inflight"]) == (0, 0, 0)
    assert queue.get("/api/results") == {"results": [], "count": 0}


def test_port_or_task_store_in_use_is_refused(bench: Any, tmp_path: Path) -> None:
    queue = bench.queue("--state", str(tmp_path / "state"))
    for words in (("--port", str(queue.port)), ("--port", "0", "--state", str(tmp_path / "state"))):
        assert bench.start("task_queue_server.py", *words).wait(10) == 1
    log = bench.log("task_queue_server.py")
    assert log.count("cannot serve") == 2 and "Traceback" not in log
    assert queue.get("/api/health")["status"] == "ok"


def test_counting_cost_does_not_grow_with_results() -> None:
    """The test measures the task store alone; over HTTP, noise exceeds the measured cost."""
    store = TaskStore(None, 120.0)

    def cost() -> float:
        begun = time.perf_counter()
        for _ in range(200):
            store.counts()
        return time.perf_counter() - begun

    before = min(cost() for _ in range(5))
    for _ in range(5000):
        store.record_ping_result()
    assert min(cost() for _ in range(5)) < 5 * before
    assert len(store.results_json()) == 5000
    store.close()
