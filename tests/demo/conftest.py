"""Fixtures for the demo box: real scripts, HTTP on loopback, processes ended by PID."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

import console.demo
from console.demo.environment import create_box, find_free_port
from console.demo.reaper import BOX_ENV_MARKER, marker_value, stop_and_remove_box

SCRIPTS = Path(console.demo.__file__).parent
T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 10.0) -> T:
    """Call the condition until it is true, and return its result."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {condition}")
        time.sleep(0.02)
    return answer


class Queue:
    """A queue server process and a plain HTTP client for it."""

    def __init__(self, bench: Bench, *arguments: str) -> None:
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._bench, self._arguments = bench, arguments
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        port = ["--port", str(self.port)]
        self.process = self._bench.start("task_queue_server.py", *port, *self._arguments)
        wait_for(self.answers)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self.process.kill()
        self.process.wait(10)

    def answers(self) -> bool:
        """Return whether the server responds."""
        try:
            return self.ask("GET", "/api/health")[0] == 200
        except OSError:
            return False

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, bytes]:
        """Send a request and return the status, content type and raw body of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        text = body if isinstance(body, bytes | None) else json.dumps(body)
        try:
            connection.request(method, path, text, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return the JSON of a GET response with status 200."""
        status, _, text = self.ask("GET", path)
        assert status == 200, text
        return json.loads(text)

    def post(self, path: str, body: object) -> Any:
        """Return the JSON of a POST response with status 200."""
        status, _, text = self.ask("POST", path, body)
        assert status == 200, text
        return json.loads(text)

    def add(self, kind: str, data: object = None, priority: str = "normal") -> str:
        """Add a task and return its id."""
        body = {"type": kind, "data": data or {}}
        return str(self.post(f"/api/tasks/create?priority={priority}", body)["task_id"])

    def result(self, task_id: str) -> Any:
        """Return the task's result, or None while there is none."""
        status, _, text = self.ask("GET", f"/api/results/{task_id}")
        return json.loads(text) if status == 200 else None


class Bench:
    """Starts the scripts of the demo box, and ends each of them by its PID."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, script: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start a script of the demo box; its output goes to `SCRIPT.log`."""
        with (self.directory / f"{script}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPTS / script), *arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **options,
            )
        self.started.append(process)
        return process

    def log(self, script: str) -> str:
        """Return the script's log so far."""
        return (self.directory / f"{script}.log").read_text()

    def queue(self, *arguments: str) -> Queue:
        """Start a queue server."""
        return Queue(self, *arguments)

    def close(self) -> None:
        """Kill every process that this bench started."""
        for process in self.started:
            process.kill()
            process.wait(10)


@pytest.fixture(name="wait_for")
def the_wait() -> Callable[..., Any]:
    """Return the bounded wait."""
    return wait_for


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Create a bench, and end its processes after the test."""
    place = Bench(tmp_path)
    yield place
    place.close()


@pytest.fixture
def queue(bench: Bench) -> Queue:
    """Start a queue server that keeps its tasks in memory."""
    return bench.queue()


@dataclass(frozen=True)
class Box:
    """A demo box on disk, whose processes carry its marker."""

    bench: Bench
    directory: Path
    config: dict[str, Any]
    environment: dict[str, str]

    def start(self, role: str) -> subprocess.Popen[bytes]:
        """Start the process of one role as configured."""
        script, *words = self.config["roles"][role]["command"][1:]
        return self.bench.start(Path(script).name, *words, env=self.environment)


@pytest.fixture
def box(tmp_path: Path, bench: Bench) -> Iterator[Box]:
    """Create a demo box without processes; end and remove it after the test."""
    directory = tmp_path / "box"
    config = tomllib.loads(create_box(directory, find_free_port()).read_text())
    yield Box(bench, directory, config, {**os.environ, BOX_ENV_MARKER: marker_value(directory)})
    stop_and_remove_box(directory)
