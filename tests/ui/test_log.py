"""The log: follows, keeps its place when scrolled, switches streams, searches, wraps."""

from __future__ import annotations

import pytest
from stage import Box, console, press, settle, shown

from console.core.model import LogPage
from console.ui.dialogs import log
from console.ui.dialogs.log import Log


def page(first: int, count: int, size: int) -> LogPage:
    return LogPage(
        "worker.err", tuple(f"row {n}" for n in range(first, first + count)), 0, size, size
    )


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "EVERY", 0.02)


async def test_follows_the_end() -> None:
    box = Box()
    box.pages = [page(0, 100, 1000)]
    async with console(box) as pilot:
        await press(pilot, "l")
        assert "FOLLOWING" in shown(pilot) and "row 99" in shown(pilot)
        box.pages = [page(100, 3, 1030)]
        await pilot.pause(0.1)
        assert "row 102" in shown(pilot)


async def test_scrolled_up_it_stays_and_counts() -> None:
    box = Box()
    box.pages = [page(0, 100, 1000)]
    async with console(box) as pilot:
        await press(pilot, "l", "home")
        assert "row 0 " in shown(pilot)
        box.pages = [page(100, 37, 1370)]
        await pilot.pause(0.1)
        assert "+37 new" in shown(pilot) and "row 0 " in shown(pilot)
        await press(pilot, "end")
        assert "FOLLOWING" in shown(pilot) and "row 136" in shown(pilot)


async def test_streams_wrap_and_search() -> None:
    box = Box()
    long = "begin " + "x" * 150 + " finish"
    box.pages = [LogPage("worker.err", ("first", long, "needle here", "last"), 0, 9, 9)]
    async with console(box, size=(80, 24)) as pilot:
        await press(pilot, "l")
        assert "finish" not in shown(pilot) and "…" in shown(pilot)
        await press(pilot, "w")
        assert "finish" in shown(pilot)
        await press(pilot, "slash", *"needle", "enter", "n", "N")
        assert "/ needle" in shown(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, Log)
        box.pages = [LogPage("worker.out", ("other stream",), 0, 5, 5)]
        await press(pilot, "tab")
        await pilot.pause(0.05)
        assert "· out ·" in shown(pilot) and "other stream" in shown(pilot)
        await press(pilot, "escape")
        assert not isinstance(pilot.app.screen, Log)


async def test_memory_is_bounded() -> None:
    box = Box()
    box.pages = [page(0, 12_000, 10**9), LogPage("x", ("y" * 10**6,), 0, 10**9, 10**9)]
    async with console(box) as pilot:
        await press(pilot, "l")
        await pilot.pause(0.1)
        screen = pilot.app.screen
        assert isinstance(screen, Log)
        assert len(screen.kept) == log.KEPT
        assert max(map(len, screen.kept)) <= log.LONGEST + 1


async def test_rotation_errors_and_nothing_yet() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "l")
        assert "nothing has been written yet" in shown(pilot)
        box.pages = [page(0, 5, 1000)]
        await pilot.pause(0.1)
        box.pages = [LogPage("worker.err", (), 0, 10, 10), page(900, 2, 20)]
        await pilot.pause(0.15)
        assert "row 901" in shown(pilot)


async def test_a_log_that_cannot_be_read_says_so() -> None:
    box = Box()

    async def broken(role: str, stream: str, offset: int | None) -> LogPage:
        raise PermissionError("not \x1b yours")

    box.read_log = broken  # type: ignore[method-assign]
    async with console(box) as pilot:
        await press(pilot, "l")
        await settle(pilot)
        assert "cannot be read: not \\x1b yours" in shown(pilot)
