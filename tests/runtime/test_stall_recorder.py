"""Stalls and readiness of a real demo worker, judged by the tasks that it finishes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from runtime_fixtures import running_on, until

import console.demo
from console.core.model.commands import Command, Verb
from console.core.model.events import Event, EventKind
from console.core.model.roles import RoleState
from console.demo.environment import find_free_port
from console.monitors import queue, worker
from console.runtime.loop import Runtime
from console.system.box import Box, open_box
from console.system.config.schema import Depth, Monitors, Restart, RoleSettings, Settings
from console.system.config.schema import Queue as Server

RIG = Path(console.demo.__file__).parent
TOLD = (EventKind.STARTED, EventKind.STALLED, EventKind.ASKED, EventKind.DIED, EventKind.READY)


class Tasks:
    """A queue server of the demo box, as a child process."""

    def __init__(self) -> None:
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        script = str(RIG / "task_queue_server.py")
        self.process = subprocess.Popen(
            [sys.executable, script, "--port", str(port), "--lease-s", "1"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, path: str, body: object = None) -> Any:
        """Send a request. Return the decoded answer, or None when the server does not answer."""
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(f"{self.url}{path}", data, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def add(self) -> Any:
        """Add a task to the queue."""
        return self.ask("/api/tasks/create", {"type": "health_check", "data": {}})

    def done(self) -> int:
        """Return the number of completed tasks."""
        return int(self.ask("/api/stats")["completed"])


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    server = Tasks()
    yield server
    server.process.kill()
    server.process.wait(10)


@contextmanager
def manned(
    place: Path, tasks: Tasks, stalled: str = "report", every_s: float = 0.1
) -> Iterator[Box]:
    """Open a box with the demo worker; `stalled` is its restart policy for stalls."""
    script = str(RIG / "rpa_worker.py")
    role = RoleSettings(
        match=script,
        command=[sys.executable, script, "--server", tasks.url, "--interval", "0.02"],
        cwd=str(place),
        match_cwd=str(place),
        settle_s=0.05,
        grace_s=2.0,
        restart=Restart(backoff_s=0.1, backoff_max_s=0.2, stalled=stalled),  # type: ignore[arg-type]
    )
    known = Settings(
        outputs=str(place / "outputs"),
        roles={"worker": role},
        queue=Server(url=tasks.url),
        monitors=Monitors(queue=Depth(every_s=every_s)),
    )
    with open_box(known, place / "state") as box:
        yield box


def told(box: Box) -> list[Event]:
    """Return the worker's start, stall, request, death and ready events."""
    return [event for event in box.store.events(role="worker") if event.kind in TOLD]


def waiting(box: Box) -> list[int]:
    """Return the queue size of the newest sample as a list; empty without a sample."""
    return [sample.data["size"] for sample in box.store.samples("queue", limit=1)]


async def works(box: Box, tasks: Tasks) -> None:
    """Start the worker and wait until it has finished one task."""
    outcome = Runtime(box, {}).guard.carry_out(Command(Verb.ENSURE, "worker", "test"))
    assert outcome.done, outcome.message
    await until(tasks.add)
    await until(lambda: tasks.done() == 1)


@pytest.mark.parametrize("stalled", ["report", "restart"])
async def test_stopped_worker_is_reported_once_and_repaired_as_configured(
    place: Path, tasks: Tasks, stalled: str
) -> None:
    with manned(place, tasks, stalled) as box:
        monitors = {"worker": worker, "queue": queue}
        async with running_on(Runtime(box, monitors, is_holder=True)):
            await works(box, tasks)
            (start,) = told(box)
            assert start.identity is not None
            os.kill(start.identity.pid, signal.SIGSTOP)
            stall = (await until(lambda: told(box)[1:]))[0]
            assert (stall.kind, stall.identity, stall.actor) == (
                "stalled",
                start.identity,
                "daemon",
            )
            assert "SIGSTOP" in stall.reason
            for _ in range(3):
                tasks.add()
            if stalled == "report":
                await until(lambda: waiting(box) == [3])
                os.kill(start.identity.pid, signal.SIGCONT)
            await until(lambda: tasks.done() == 4)
            # Tasks finished before the first sample since the start may be another worker's.
            await until(lambda: tasks.add() and told(box)[-1].kind is EventKind.READY)
        kinds = [event.kind.value for event in told(box)]
        if stalled == "report":
            assert kinds == ["started", "stalled", "ready"]
            return
        assert kinds == ["started", "stalled", "asked", "died", "started", "ready"]
        assert {told(box)[index].actor for index in (2, 4)} == {"policy"}


async def test_new_worker_becomes_ready_before_the_next_scheduled_queue_sample(
    place: Path, tasks: Tasks
) -> None:
    with manned(place, tasks, every_s=3600.0) as box:
        monitors = {"worker": worker, "queue": queue}
        async with running_on(Runtime(box, monitors, is_holder=True)) as runtime:
            await works(box, tasks)
            first = told(box)[0].identity
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)

            def ready() -> bool:
                tasks.add()
                view = runtime.view.compose().roles[0]
                again = [instance for instance in view.instances if instance.identity != first]
                return bool(again) and view.state is RoleState.READY

            await until(ready)
        # The extra queue reads are not stored: a verdict counts stored samples.
        assert len(box.store.samples("queue")) <= 2 * len(("at first", "first", "second"))
