"""Monitor fixtures: a box with real servers and files, and a fake process list and store."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

import console.demo
from console.core.metrics.rollups import Rollup
from console.core.metrics.time_series import TimeSeries
from console.core.model.processes import Instance
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.demo.environment import find_free_port
from console.system import clock
from console.system.config.schema import Queue, Settings
from console.system.files.outside_files import OutsideDirectory
from console.system.host.json_http import HttpError, fetch_json

SCRIPTS = Path(console.demo.__file__).parent


@dataclass
class StandIn:
    """The part of a box that a probe uses, with fake processes and samples."""

    outputs_dir: Path
    settings: Settings = Settings()
    name: str = "test"
    seen: tuple[Instance, ...] = ()
    samples: list[Sample] = field(default_factory=list)
    rollups: list[Rollup] = field(default_factory=list)
    offset_s: float = 0.0

    @property
    def outside_directory(self) -> OutsideDirectory:
        return OutsideDirectory(self.outputs_dir)

    def now(self) -> Moment:
        return clock.now().plus(self.offset_s)

    async def find_instances(self, role_name: str) -> tuple[Instance, ...]:
        return tuple(one for one in self.seen if one.role == role_name)

    async def read_series(
        self, monitor: str, metrics: Sequence[str], window_s: float
    ) -> TimeSeries:
        return TimeSeries(metrics, await self.read_samples(monitor, window_s))

    async def read_samples(self, monitor: str, window_s: float) -> Sequence[Sample]:
        now = self.now()
        return [s for s in self.samples if s.monitor == monitor and now.since(s.moment) <= window_s]

    async def read_hourly_rollups(
        self, monitor: str, metric: str, window_s: float
    ) -> Sequence[Rollup]:
        since = self.now().at - window_s
        return [
            one
            for one in self.rollups
            if (one.monitor, one.field) == (monitor, metric) and one.at >= since
        ]

    def with_queue(self, url: str, timeout_s: float = 3.0) -> StandIn:
        queue = Queue(url=url, timeout_s=timeout_s)
        self.settings = msgspec.structs.replace(self.settings, queue=queue)
        return self

    def with_monitor(self, name: str, **values: Any) -> StandIn:
        one = msgspec.structs.replace(getattr(self.settings.monitors, name), **values)
        monitors = msgspec.structs.replace(self.settings.monitors, **{name: one})
        self.settings = msgspec.structs.replace(self.settings, monitors=monitors)
        return self


@pytest.fixture
def box(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "outputs", name=str(tmp_path))


class Script:
    """An HTTP server that answers each path with a prepared (status, type, bytes)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[str] = []
        script = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                script.asked.append(path)
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, kind, raw = script.answers.get(path, (404, "text/plain", b"nothing here"))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_POST = do_GET

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def json(self, path: str, value: object) -> None:
        self.answers[path] = (200, "application/json", json.dumps(value).encode())

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    yield server
    server.close()


@dataclass
class Rig:
    """The queue server and the worker of the demo box, as processes."""

    directory: Path
    url: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            command = [sys.executable, str(SCRIPTS / name), *arguments]
            process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def queue(self) -> str:
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("task_queue_server.py", "--port", str(port))
        wait_for(self.answers)
        return self.url

    def worker(self) -> subprocess.Popen[bytes]:
        return self.start("rpa_worker.py", "--server", self.url, "--interval", "0.1")

    def answers(self) -> bool:
        try:
            return fetch_json(self.url + "/api/health").status == 200
        except HttpError:
            return False

    def add(self, kind: str, **data: Any) -> str:
        body = {"type": kind, "data": data}
        created = fetch_json(self.url + "/api/tasks/create", method="POST", body=body).data
        assert isinstance(created, dict)
        return str(created["task_id"])

    def stats(self) -> dict[str, Any]:
        found = fetch_json(self.url + "/api/stats").data
        assert isinstance(found, dict)
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    yield one
    for process in one.started:
        process.kill()
        process.wait(10)


def wait_for(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Wait until the condition holds. Fail when the timeout passes first."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            pytest.fail(f"not within {timeout_s} s: {condition}")
        time.sleep(0.02)


@pytest.fixture(name="wait_for")
def the_wait() -> Callable[..., None]:
    return wait_for
