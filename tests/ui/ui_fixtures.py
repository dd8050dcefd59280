"""Fixtures of the UI tests: a scripted box, a recording `submit`, and readers of the screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import textual.app
import textual.pilot
from textual.events import Key
from textual.keys import _character_to_key
from textual.pilot import Pilot

from console.core.model.commands import Command, Outcome
from console.core.model.logs import LogPage
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import replace
from console.ui.app import ConsoleApp, ConsolePorts
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.ports import Feed, LogReader, Publish
from screenshots.generator.fixture_night import NOW, healthy_snapshot


async def idle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Wait until the event loop is idle. Textual's version counts any CPU use as work."""
    loop: Any = asyncio.get_running_loop()
    begin, quiet_rounds = loop.time(), 0
    while quiet_rounds < 4 and loop.time() - begin < max_sleep:
        await asyncio.sleep(0.005)
        quiet_rounds = 0 if loop._ready else quiet_rounds + 1


textual.app.wait_for_idle = textual.pilot.wait_for_idle = idle  # type: ignore[attr-defined]


@dataclass
class Box:
    """A scripted box: its snapshot, its answers, and the commands it received."""

    snapshot: Snapshot = field(default_factory=healthy_snapshot)
    outcome: Outcome | Exception = field(default_factory=lambda: Outcome(True, "done as asked"))
    rehearsal: Outcome = field(default_factory=lambda: Outcome(True, "would end PID 7 (fresh)"))
    asked: list[Command] = field(default_factory=list)
    hold: asyncio.Event | None = None
    late: float = 0.0
    pages: list[LogPage] = field(default_factory=list)
    app: ConsoleApp | None = None

    def clock(self) -> Moment:
        return NOW.plus(self.late)

    async def feed(self, publish: Publish) -> None:
        publish(self.snapshot)
        await asyncio.Event().wait()

    async def submit(self, command: Command) -> Outcome:
        if command.dry_run:
            return self.rehearsal
        self.asked.append(command)
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def read_log(self, role: str, stream: str, offset: int | None) -> LogPage:
        other = {"err": ".out", "out": ".err"}.get(stream, ".")
        if self.pages and not self.pages[0].path.endswith(other):
            return self.pages.pop(0)  # another reader polls the other stream
        return LogPage(f"{role}.{stream}", (), offset or 0, offset or 0, offset or 0)

    def wiring(self, **other: Any) -> ConsolePorts:
        feeds: dict[str, Feed] = other.pop("feeds", {"all": self.feed})
        logs = other.pop("logs", None) or LogReader(self.read_log)
        return ConsolePorts(
            feeds, self.submit, logs, self.clock, actor="console:ana@pts/3", **other
        )

    def news(self, after: float = 2.0, **changes: Any) -> None:
        """Publish a changed snapshot `after` seconds later; by default it is drawn at once."""
        assert self.app is not None
        self.late += after
        self.snapshot = replace(self.snapshot, **changes)
        self.app.publish(self.snapshot)


@asynccontextmanager
async def console(
    box: Box, size: tuple[int, int] = (120, 40), **wiring: Any
) -> AsyncIterator[Pilot[int]]:
    """Run the console over `box`."""
    app = box.app = ConsoleApp(box.wiring(**wiring))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        yield pilot


async def settle(pilot: Pilot[int]) -> None:
    await pilot.pause()


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys, each after the one before is handled and an open question accepts keys."""
    for key in keys:
        await pilot.press(key)
        await heard(pilot)


async def heard(pilot: Pilot[int]) -> None:
    """Wait until the question on the screen, if any, accepts keys."""
    async with asyncio.timeout(30):
        while isinstance(question := pilot.app.screen, ConfirmDialog) and not question.is_readable:
            await pilot.pause(0.01)


async def burst(pilot: Pilot[int], *keys: str) -> None:
    """Send keys in one burst, as a terminal does with input that it reads at once."""
    driver = pilot.app._driver
    assert driver is not None
    for key in keys:
        name = _character_to_key(key) if len(key) == 1 else key
        driver.send_message(Key(name, key if len(key) == 1 else None))
    await settle(pilot)
    if pilot.app.is_running:
        assert isinstance(pilot.app, ConsoleApp)
        async with asyncio.timeout(30):
            await pilot.app.wait_for_keys()
        await settle(pilot)


def shown(pilot: Pilot[int]) -> str:
    """Return the text of all screens, dialogs and the screens below them."""
    screens = pilot.app.screen_stack
    return "\n".join(
        strip.text for screen in screens for strip in screen._compositor.render_strips()
    )


def themes(path: Path, name: str, text: str) -> tuple[Path, ...]:
    (path / name).write_text(text, encoding="utf-8")
    return (path,)
