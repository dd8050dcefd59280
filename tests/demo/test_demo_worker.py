"""The demo worker: each task type, and servers that are down or send invalid responses."""

from __future__ import annotations

import http.server
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def crew(bench: Any, queue: Any, wait_for: Any) -> Any:
    """Start a worker, and return a function that adds a task and waits for its result."""
    worker = bench.start("rpa_worker.py", "--server", queue.url, "--interval", "0.02")

    def do(kind: str, data: object = None) -> Any:
        task_id = queue.add(kind, data)
        return wait_for(lambda: queue.result(task_id))

    do.worker = worker  # type: ignore[attr-defined]
    return do


def command(*argv: object, **params: object) -> dict[str, object]:
    """Return the data of a task that runs a command."""
    return {"action": "run", "params": {"command": list(argv), **params}}


def test_worker_handles_every_task_type(crew: Any, queue: Any) -> None:
    canary = crew("health_check")
    assert canary["success"] and canary["error"] is None
    assert canary["data"]["execution_time"] >= 0 and canary["data"]["duration_ms"] >= 0
    waited = crew("wait", {"seconds": 0.2})
    assert waited["success"] and 0.2 <= waited["data"]["execution_time"] < 5
    assert queue.get("/api/stats")["avg_duration_ms"] > 0
    for kind in ("rpa", "rpa_command"):
        assert crew(kind, command("echo", "filed"))["data"]["output"] == ["filed"]
    unknown = crew("screenshot")
    assert (unknown["success"], unknown["error"]) == (False, "Unsupported task type: screenshot")


def test_commands_report_exit_code_and_last_lines(crew: Any) -> None:
    talk = (
        "import sys; [print(n) for n in range(100000)]; print('end', file=sys.stderr); sys.exit(3)"
    )
    loud = crew("rpa_command", command(sys.executable, "-c", talk))
    assert not loud["success"] and loud["error"] == "exit code 3"
    assert loud["data"]["exit_code"] == 3 and loud["data"]["output"][-1] in ("end", "99999")
    assert len(loud["data"]["output"]) == 20
    slow = crew("rpa_command", command("sh", "-c", "sleep 60 & sleep 60", timeout=0.3))
    assert not slow["success"] and "0.3 s" in slow["error"]
    assert slow["data"]["execution_time"] < 5
    left = crew("rpa_command", command("sh", "-c", "sleep 2 & echo left"))
    assert left["success"] and left["data"]["output"] == ["left"]
    assert left["data"]["execution_time"] < 1.5


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("wait", {"seconds": -1}),
        ("wait", {"seconds": 301}),
        ("wait", {"seconds": "long"}),
        ("wait", {"seconds": True}),
        ("rpa", {}),
        ("rpa", {"action": "run"}),
        ("rpa", command()),
        ("rpa", command(5)),
        ("rpa", command("/no/such/program")),
        ("rpa", command("nul\0byte")),
        ("rpa", command("\ud800")),
        ("rpa", command("echo", timeout=10**9)),
    ],
)
def test_impossible_tasks_fail_without_ending_the_worker(
    crew: Any, kind: str, data: object
) -> None:
    refused = crew(kind, data)
    assert refused["success"] is False and refused["error"]
    assert crew.worker.poll() is None


def test_sigterm_ends_the_worker_during_a_task(bench: Any, queue: Any, wait_for: Any) -> None:
    worker = bench.start("rpa_worker.py", "--server", queue.url, "--interval", "0.05")
    queue.add("wait", {"seconds": 300})
    wait_for(lambda: queue.get("/api/inflight")["count"] == 1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(3) == 0


def test_worker_survives_a_server_restart(bench: Any, wait_for: Any) -> None:
    queue = bench.queue()
    worker = bench.start("rpa_worker.py", "--server", queue.url, "--interval", "0.05")
    queue.kill()
    wait_for(lambda: "next try in" in bench.log("rpa_worker.py"))
    queue.start()
    task_id = queue.add("health_check")
    assert wait_for(lambda: queue.result(task_id))["success"]
    assert worker.poll() is None


NONSENSE = [
    b"<html>login</html>",
    b"[]",
    b'"x"',
    b'{"task_id": 7}',
    b"\xff",
    b'{"task": 1}',
    b"[" * 99999,
    b'{"task_id": "a", "type": [1], "data": "x"}',
]


class Nonsense(http.server.BaseHTTPRequestHandler):
    """A handler that answers every request with an invalid response."""

    told = 0

    def do_GET(self) -> None:
        text = NONSENSE[Nonsense.told % len(NONSENSE)]
        self.send_response(200)
        self.send_header("Content-Length", str(len(text) + Nonsense.told // len(NONSENSE) % 2))
        self.end_headers()
        self.wfile.write(text)
        Nonsense.told += 1

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def nonsense() -> Iterator[str]:
    """Start a server that sends invalid responses, and return its address."""
    Nonsense.told = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_clients_survive_nonsense_answers(
    bench: Any, nonsense: str, wait_for: Any, tmp_path: Any
) -> None:
    clients = [
        bench.start("rpa_worker.py", "--server", nonsense, "--interval", "0.02"),
        bench.start("task_watchdog.py", "--server", nonsense, "--interval", "0.02"),
        bench.start("realtime_pipeline.py", "--server", nonsense, "--interval", "0.02"),
        bench.start("task_generator.py", "--server", nonsense, "--every", "0.02"),
    ]
    wait_for(lambda: Nonsense.told > 12 * len(NONSENSE), 15)
    assert [client.poll() for client in clients] == [None] * 4
    for client in clients:
        client.send_signal(signal.SIGTERM)
    assert [client.wait(5) for client in clients] == [0] * 4
    assert "Traceback" not in "".join(bench.log(path.stem) for path in tmp_path.glob("*.log"))
