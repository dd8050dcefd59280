"""Fixtures of the runtime tests: a box of one worker, a running runtime, and waits."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.core.model.events import Event, EventKind
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.runtime.loop import Runtime
from console.system.box import Box
from console.system.config.schema import Restart, RoleSettings, Settings

PYTHON = [sys.executable, "-I", "-S"]


@dataclass
class Scripted:
    """A monitor whose probe is a function of the test."""

    NAME: str
    act: Callable[[Box], Awaitable[dict[str, Any]]]
    interval: float = 0.05
    calls: list[float] = field(default_factory=list)

    def every(self, settings: Settings) -> float:
        return self.interval

    def enabled(self, settings: Settings) -> bool:
        return True

    async def probe(self, box: Box) -> Sample:
        self.calls.append(time.monotonic())
        return Sample(self.NAME, box.now(), await self.act(box))

    def judge(
        self, history: Sequence[Sample], now: Moment, settings: Settings, learnt: object = None
    ) -> Health:
        return Health(HealthState(history[-1].data.get("state", "ok")))

    def result(self, sample: Sample) -> str:
        return str(sample.data["result"])


async def fine(box: Box) -> dict[str, Any]:
    return {"result": "fine"}


def settings(place: Path, **more: Any) -> Settings:
    """Return settings of one worker that only sleeps; no server answers at the queue's URL."""
    script = str(place / "rpa_worker.py")
    role = RoleSettings(
        match=script,
        command=[*PYTHON, script],
        settle_s=0.05,
        grace_s=2.0,
        autostart=False,
        restart=Restart(backoff_s=0.1, backoff_max_s=0.2, limit=2),
    )
    watchdog = RoleSettings(match=str(place / "task_watchdog.py"))
    return Settings(
        outputs=str(place / "outputs"), roles={"worker": role, "watchdog": watchdog}, **more
    )


@asynccontextmanager
async def running_on(runtime: Runtime) -> AsyncIterator[Runtime]:
    """Run the runtime until the block ends."""
    await asyncio.to_thread(runtime.view.refresh)
    task = asyncio.create_task(runtime.run())
    try:
        yield runtime
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        if runtime._snapshot_task is not None:
            runtime._snapshot_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait until a condition is true, without blocking the loop. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not (answer := await asyncio.to_thread(condition)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return answer


async def shown(runtime: Runtime, condition: Callable[[Snapshot], Any]) -> Snapshot:
    """Return the first snapshot that satisfies a condition. Raises TimeoutError."""
    async with asyncio.timeout(10):
        async for snapshot in runtime.snapshots():
            if condition(snapshot):
                return snapshot
    raise AssertionError("unreachable")


def outsider(box: Box, whose: str | None = None) -> subprocess.Popen[bytes]:
    """Start a worker outside the guard, marked as of this box or of the box `whose`."""
    role = box.find_role("worker")
    assert role is not None
    mark = {"RPA_CONSOLE_BOX": whose or box.name}
    return subprocess.Popen(role.command, env=mark, stdin=subprocess.DEVNULL)


def ledger(box: Box, *kinds: EventKind) -> list[Event]:
    return [event for event in box.store.events(role="worker") if event.kind in kinds]
