"""A demo box on the simulated machine: its queue, watchdog and pipeline on simulated time."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time as real_time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from simulated_machine import Being, Life, Machine
from simulated_time import Time

from console.core.model.events import Event, EventKind
from console.core.model.snapshot import Snapshot
from console.demo import (
    queue_handlers,
    realtime_pipeline,
    rpa_worker,
    script_support,
    task_generator,
    task_store,
    task_watchdog,
)
from console.monitors import _queue_client
from console.runtime import daemon as edge
from console.runtime import daemon_duties, memory_sweep
from console.runtime import loop as runtime_loop
from console.runtime.loop import Runtime
from console.runtime.supervision import supervisor
from console.runtime.watchers import store_watcher
from console.system import daemon_role
from console.system.box import Box, open_box
from console.system.config.schema import Depth, Monitors, Pipeline, RoleSettings, Settings, Watchdog
from console.system.host.json_http import HttpError, JsonResponse, ResponseTail
from console.system.processes import worker_registry

URL = "http://127.0.0.1:8091"
REFUSED = "refused"
PYTHON = "python3"


class SimBox:
    """A simulated box, its queue server, programs and daemon."""

    def __init__(self, place: Path, time: Time) -> None:
        self.place, self.time = place, time
        self.began = time.tick()
        self.machine = Machine(time)
        self.machine.lives = {
            "rpa_worker.py": self._work,
            "task_watchdog.py": self._watch,
            "realtime_pipeline.py": self._pipe,
            "task_generator.py": self._trickle,
        }
        self.book: task_store.TaskStore | None = None
        self.box: Box
        self.shown: list[Snapshot] = []
        """The snapshots that the daemon has published, oldest first."""
        self.events: list[Event] = []
        self.canaries: list[tuple[float]] = []
        """Rows that a test read before the store was closed."""
        self.torn = False
        """True while the pipeline writes truncated files."""

    def script(self, name: str) -> str:
        return str(self.place / name)

    def run(self, name: str) -> Being:
        """Start a program outside the guard, as an operator does by hand."""
        return self.machine.start(PYTHON, self.script(name))

    def worker(self) -> Being:
        return self.machine.running("rpa_worker.py")[0]

    # --- the queue server ------------------------------------------------------------------

    def open_queue(self) -> None:
        self.book = task_store.TaskStore(self.place / "queue", 120.0)

    def close_queue(self) -> None:
        self.book.close()
        self.book = None

    def _ask(self, path: str, body: Any, method: str, worker: str) -> queue_handlers.Response:
        """Return the demo queue server's answer. Raises ConnectionRefusedError."""
        self.time.wait(0.002)
        if self.book is None:
            raise ConnectionRefusedError
        parts = urlsplit(path)
        raw = b"" if body is None else json.dumps(body).encode()
        asked = queue_handlers.Request(method, parts.path, parse_qs(parts.query), raw, worker)
        try:
            return queue_handlers.handle_request(self.book, asked)
        except queue_handlers.RequestError as refused:
            return queue_handlers.json_response({"error": str(refused)}, refused.status)

    def call(self, server: str, path: str, body: Any = None, **more: Any) -> Any:
        """Replace the demo scripts' `call_server`."""
        worker = more.get("headers", {}).get("X-Worker-Name", "")
        try:
            answer = self._ask(path, body, "GET" if body is None else "POST", worker)
        except ConnectionRefusedError:
            raise script_support.RequestFailed("refused") from None
        if answer.status != 200:
            raise script_support.RequestFailed(f"HTTP {answer.status}", answer.status)
        return json.loads(answer.body)

    def fetch(
        self, url: str, *, method: str = "GET", body: Any = None, **more: Any
    ) -> JsonResponse:
        """Replace the monitors' `fetch_json`."""
        try:
            answer = self._ask(url.removeprefix(URL), body, method, "")
        except ConnectionRefusedError:
            raise HttpError(REFUSED) from None
        if answer.status != 200:
            raise HttpError(f"{answer.status}: {answer.body[:100]}", answer.status)
        return JsonResponse(200, json.loads(answer.body), 0.002)

    def fetch_tail(
        self, url: str, *, tail_bytes: int, counted_word: bytes, **more: Any
    ) -> ResponseTail:
        """Replace the monitors' `fetch_tail`, which reads a long list."""
        try:
            answer = self._ask(url.removeprefix(URL), None, "GET", "")
        except ConnectionRefusedError:
            raise HttpError(REFUSED) from None
        raw = answer.body.encode()
        return ResponseTail(raw[-tail_bytes:], len(raw), raw.count(counted_word), 0.002)

    # --- the programs ----------------------------------------------------------------------

    def _work(self, being: Being) -> Life:
        """Run the demo worker's steps; yield each of its waits to the machine."""
        name = f"box-{being.pid}"
        while True:
            try:
                task = rpa_worker.fetch_next_task(URL, name)
            except script_support.RequestFailed:
                yield 2.0
                continue
            if task is None:
                yield 2.0
                continue
            took = task["data"].get("seconds", 0.15)
            yield took
            kind = task["type"]
            done = (
                rpa_worker.perform_task(kind, {})
                if kind == "health_check"
                else rpa_worker.TaskResult(True, {})
            )
            data = done.data | {"worker": name, "execution_time": took}
            body = {"success": done.success, "data": data, "error": done.error}
            try:
                self.call(URL, f"/api/tasks/{task['task_id']}/result", body)
            except script_support.RequestFailed:
                continue  # the task returns to the queue when its lease expires

    def _watch(self, being: Being) -> Life:
        before = None
        while True:
            now = task_watchdog.sample_queue(URL)
            found = task_watchdog.find_anomalies(now, before, 60.0)
            task_watchdog.write_status(
                self.place / "outputs", task_watchdog.build_status(URL, now, found)
            )
            before = now
            yield 60.0

    def _pipe(self, being: Being) -> Life:
        outputs = self.place / "outputs"
        window = realtime_pipeline.SampleWindow(
            outputs / "realtime_pipeline_metrics.jsonl", 24.0, 300.0
        )
        options = Namespace(interval=300.0, window_hours=24.0)
        while True:
            try:
                window.add(realtime_pipeline.take_sample(URL))
            except script_support.RequestFailed:
                pass
            realtime_pipeline.write_status(
                outputs, realtime_pipeline.build_status(window, options), self.torn
            )
            yield 300.0

    def _trickle(self, being: Being) -> Life:
        chance = random.Random(1)
        while True:
            try:
                task_generator.add_task(URL, chance)
            except script_support.RequestFailed:
                pass
            yield 45.0 * chance.uniform(0.5, 1.5)

    # --- the monitors' daemon --------------------------------------------------------------

    @asynccontextmanager
    async def on_duty(self) -> AsyncIterator[None]:
        """Run the daemon by its own entry point until the block ends."""
        self.machine.own = self.machine.start(PYTHON, "-m", "console", "daemon", "run")
        grant = daemon_role.acquire_lease(self.box.paths, self.box.store)
        assert grant is not None
        self._tell(EventKind.DAEMON_STARTED)
        others = asyncio.all_tasks()
        work = asyncio.create_task(edge._run_until_signalled(self.box, grant))
        try:
            await asyncio.sleep(0)
            yield
        finally:
            signal.raise_signal(signal.SIGTERM)
            await work
            for left in asyncio.all_tasks() - others:
                left.cancel()
            self._tell(EventKind.DAEMON_STOPPED)
            grant.close()
            self.machine.die(self.machine.own, 0)
            self.machine.own = self.machine.start("rpa-console")

    def _tell(self, kind: EventKind) -> None:
        self.box.record_or_queue(kind, actor="daemon", reason=f"PID {self.machine.own.pid}")


def settings(place: Path) -> Settings:
    """Return settings of a worker under the restart policy, with slow monitors."""
    script = str(place / "rpa_worker.py")
    return Settings(
        outputs=str(place / "outputs"),
        roles={"worker": RoleSettings(match=script, command=[PYTHON, script])},
        monitors=Monitors(
            queue=Depth(every_s=180.0),
            watchdog=Watchdog(every_s=180.0),
            pipeline=Pipeline(every_s=300.0),
        ),
    )


@contextmanager
def simulated(place: Path, began: float, zone: str) -> Iterator[SimBox]:
    """Open a box without processes, on a clock that begins at `began` (Unix seconds)."""
    with pytest.MonkeyPatch.context() as patch:
        time = Time(began)
        patch.setenv("TZ", zone)
        real_time.tzset()
        _set_clocks(patch, time)
        box = SimBox(place, time)
        patch.setattr(script_support, "call_server", box.call)
        patch.setattr(_queue_client, "fetch_json", box.fetch)
        patch.setattr(_queue_client, "fetch_tail", box.fetch_tail)
        (place / "workers").mkdir()  # simulated workers are not in the real registry
        patch.setattr(worker_registry, "directory", lambda: place / "workers")
        _slowly(patch)
        _tapped(patch, box)
        with (
            box.machine.behind_the_doors(patch),
            open_box(settings(place), place / "state") as box.box,
        ):
            box.box.table = box.machine  # type: ignore[assignment]
            box.open_queue()
            yield box
    real_time.tzset()


def _set_clocks(patch: pytest.MonkeyPatch, time: Time) -> None:
    """Put the demo's modules on the clock of the simulation."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Then:
            return cls.fromtimestamp(time.wall_time(), tz)

    clocks = SimpleNamespace(time=time.wall_time, monotonic=time.monotonic)
    numbers = iter(range(1, sys.maxsize))
    for module in (task_store, task_watchdog, realtime_pipeline):
        patch.setattr(module, "datetime", Then)
        patch.setattr(module, "time", clocks)
    patch.setattr(task_store, "uuid", SimpleNamespace(uuid4=lambda: f"task-{next(numbers):06d}"))


def _slowly(patch: pytest.MonkeyPatch) -> None:
    """Lengthen the polling intervals: the simulated machine announces each change."""
    patch.setattr(store_watcher, "InotifyWatch", _deaf)  # keeps the times of reads deterministic
    patch.setattr(store_watcher, "POLL_INTERVAL_S", 5.0)
    patch.setattr(runtime_loop, "MAX_SNAPSHOT_AGE_S", 60.0)
    patch.setattr(supervisor, "SCAN_INTERVAL_S", 10.0)
    patch.setattr(daemon_duties, "HANDOVER_INTERVAL_S", 600.0)
    patch.setattr(memory_sweep, "SWEEP_INTERVAL_S", 600.0)


def _deaf(directory: Path) -> None:
    """Replace the inotify watch by an error, as when the kernel offers none."""
    raise OSError


def _tapped(patch: pytest.MonkeyPatch, box: SimBox) -> None:
    """Append each published snapshot to `box.shown`."""
    publish = Runtime._publish

    def tap(runtime: Runtime, snapshot: Snapshot) -> None:
        box.shown.append(snapshot)
        publish(runtime, snapshot)

    patch.setattr(Runtime, "_publish", tap)
