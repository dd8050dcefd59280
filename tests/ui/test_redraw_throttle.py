"""Snapshots are drawn at most once a second; urgent changes and key results at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import textual.screen
from textual.events import Key
from textual.pilot import Pilot
from ui_fixtures import Box, console, idle, press, shown

from console.core.model.roles import RoleState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.model.time import Moment
from console.core.records import replace
from console.core.trends import Trends
from console.ui import main_screen
from console.ui.app import MAX_REDRAW_INTERVAL_S
from console.ui.panes import PaneModule
from console.ui.redraw import throttle
from console.ui.redraw.throttle import MIN_REDRAW_INTERVAL_S, throttle_delay_s, urgent_state
from screenshots.generator.fixture_night import NOW, healthy_snapshot, make_worker

CALM = healthy_snapshot()
EARLY_S = 0.05
"""Tolerance between the event loop's timer and the clock."""


@asynccontextmanager
async def settled(box: Box, **wiring: Any) -> AsyncIterator[Pilot[int]]:
    """Run the console over `box` with its layout settled, so that snapshots are throttled."""
    async with console(box, **wiring) as pilot:
        assert box.app is not None
        box.app.main_screen.settled = True
        yield pilot


def waiting(box: Box, size: int, after: float = 0.0) -> None:
    """Publish a change that is not urgent: `size` waiting tasks."""
    box.news(after, queue=replace(box.snapshot.queue, size=size))


class Living(Box):
    """A box whose clock advances with the event loop."""

    def clock(self) -> Moment:
        return NOW.plus(asyncio.get_running_loop().time())


def told(pilot: Pilot[int]) -> int:
    """Return the number of waiting tasks on the screen."""
    found = re.search(r"waiting +(\d+) ", shown(pilot))
    assert found is not None
    return int(found[1])


async def until(pilot: Pilot[int], what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await pilot.pause(0.01)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the redraw interval longer than any test, so that no timer draws a pending snapshot."""
    monkeypatch.setattr(throttle, "MIN_REDRAW_INTERVAL_S", 600.0)


@pytest.mark.parametrize(
    ("gone", "left"), [(-9.0, 1.0), (0.0, 1.0), (0.25, 0.75), (1.0, 0.0), (7.0, 0.0)]
)
def test_delay_ends_one_second_after_the_last_frame(
    gone: float, left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MIN_REDRAW_INTERVAL_S", 1.0)
    assert throttle_delay_s(NOW, NOW.plus(gone)) == left
    other = replace(NOW.plus(gone), boot="another")  # this boot began days ago
    assert throttle_delay_s(NOW, other) == (left if gone >= 0 else 0.0)


Change = Callable[[Snapshot], dict[str, Any]]


def role(**changes: Any) -> Change:
    return lambda now: {"roles": (replace(now.roles[0], **changes), *now.roles[1:])}


WEIGHTY: dict[str, tuple[Change, str]] = {
    "verdict": (lambda now: {"verdict": Verdict.DOWN}, "✖ DOWN"),
    "state": (role(state=RoleState.BACKOFF), "▲ BACKOFF"),
    "death": (role(instances=()), "1 missing"),
    "arrival": (role(instances=(make_worker(), make_worker(99))), " 99›105 "),
    "successor": (role(instances=(make_worker(99),)), " 99›105 "),
    "role": (lambda now: {"roles": ()}, "no role is configured"),
    "daemon": (lambda now: {"daemon": replace(now.daemon, running=False)}, "NOBODY WATCHES"),
}
"""Urgent changes, each with the text that shows it."""
LIGHT: dict[str, Change] = {
    "queue": lambda now: {"queue": replace(now.queue, size=99, latency_s=9.9)},
    "usage": role(usage={1: (9.0, 9)}),
    "watchdog": lambda now: {"watchdog": replace(now.watchdog, pid=27429)},
    "moment": lambda now: {"moment": now.moment.plus(9)},
    "pulse": lambda now: {"daemon": replace(now.daemon, heartbeat=now.moment)},
}
CHANGES = {name: change for name, (change, _) in WEIGHTY.items()} | LIGHT


@pytest.mark.parametrize("name", CHANGES)
def test_urgent_state_differs_only_for_urgent_changes(name: str) -> None:
    changed = replace(CALM, **CHANGES[name](CALM))
    assert changed != CALM
    assert (urgent_state(changed) != urgent_state(CALM)) is (name in WEIGHTY)


async def test_snapshot_burst_is_drawn_once_a_second_ending_with_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, box = asyncio.get_running_loop(), Living()
    async with settled(box) as pilot:
        assert box.app is not None
        drawn: list[tuple[float, int | None]] = []
        show = box.app.main_screen.show_snapshot

        def noting(snapshot: Snapshot, *rest: Any) -> None:
            if not drawn or snapshot.queue.size != drawn[-1][1]:
                drawn.append((loop.time(), snapshot.queue.size))
            show(snapshot, *rest)

        monkeypatch.setattr(box.app.main_screen, "show_snapshot", noting)
        began, size = loop.time(), 100
        while loop.time() < began + 1.5 * MIN_REDRAW_INTERVAL_S:
            size += 1
            waiting(box, size)
            await pilot.pause(0.02)
        ended = loop.time()
        await until(pilot, lambda: told(pilot) == size)
        moments, sizes = zip(*drawn, strict=True)
        assert sizes[-1] == size and [*sizes] == sorted(sizes)
        apart = [after - before for before, after in pairwise(moments)]
        assert apart and min(apart) > MIN_REDRAW_INTERVAL_S - EARLY_S
        assert moments[-1] < ended + MAX_REDRAW_INTERVAL_S / 2, "an age has drawn it"


async def test_urgent_redraw_cancels_the_pending_one_and_restarts_the_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = Box()
    async with settled(box):
        assert box.app is not None
        armed: list[float] = []
        arm = box.app._schedule_redraw

        def noting(seconds: float) -> None:
            armed.append(seconds)
            arm(seconds)

        monkeypatch.setattr(box.app, "_schedule_redraw", noting)
        waiting(box, 101, after=0.25)
        waiting(box, 102, after=0.5)
        pending = box.app._redraw_timer
        assert armed == pytest.approx([MIN_REDRAW_INTERVAL_S - 0.25, MIN_REDRAW_INTERVAL_S - 0.75])
        box.news(0.0, verdict=Verdict.DOWN)
        assert box.app._redraw_timer is not pending and pending is not None and pending.cancelled()
        assert armed[2] >= MIN_REDRAW_INTERVAL_S
        waiting(box, 103, after=0.25)
        assert armed[3:] == pytest.approx([MIN_REDRAW_INTERVAL_S - 0.25])


async def test_snapshot_after_a_quiet_second_is_drawn_at_once(endless: None) -> None:
    box = Box()
    async with settled(box) as pilot:
        waiting(box, 101, after=599.0)
        await pilot.pause()
        assert told(pilot) == 3
        waiting(box, 102, after=1.0)
        await until(pilot, lambda: told(pilot) == 102)


@pytest.mark.parametrize(("change", "words"), WEIGHTY.values(), ids=WEIGHTY)
async def test_urgent_change_is_drawn_at_once_with_all_pending_changes(
    endless: None, change: Change, words: str
) -> None:
    box = Box()
    async with settled(box) as pilot:
        waiting(box, 101)
        await pilot.pause()
        assert told(pilot) == 3 and words not in shown(pilot)
        box.news(0.0, **change(box.snapshot))
        await until(pilot, lambda: words in shown(pilot))
        assert told(pilot) == 101


@pytest.mark.parametrize(
    ("key", "words"),
    [("o", "instances sorted by"), ("f", "FROZEN"), ("c", "done as asked")],
)
async def test_key_result_is_drawn_at_once(endless: None, key: str, words: str) -> None:
    box = Box()
    async with settled(box) as pilot:
        waiting(box, 101)
        await pilot.pause()
        assert told(pilot) == 3 and words not in shown(pilot)
        await press(pilot, key)
        await until(pilot, lambda: words in shown(pilot))
        assert told(pilot) == 101


async def test_outdated_question_is_refused_while_the_main_screen_waits(
    endless: None,
) -> None:
    twins = (make_worker(), make_worker(99, 30.0, leased=False))
    view = replace(CALM.roles[0], instances=twins, surplus=(twins[1].identity,))
    box = Box(replace(CALM, roles=(view, *CALM.roles[1:])))
    async with settled(box) as pilot:
        await press(pilot, "x")
        box.news(0.0, roles=(replace(view, surplus=()), *CALM.roles[1:]))
        await until(pilot, lambda: "✖ refused: the instances" in shown(pilot))
        assert box.app is not None and box.app.main_screen._last_shown is not None
        assert box.app.main_screen._last_shown[0].roles[0].surplus


async def test_graphs_and_their_read_errors_are_throttled_like_snapshots(
    endless: None,
) -> None:
    async def broken(moment: Moment | None) -> Trends:
        raise OSError("disk gone")

    box = Box()
    async with console(box, load_trends=broken) as pilot:
        await until(pilot, lambda: "graphs: disk gone" in shown(pilot))
        assert box.app is not None
        box.app.main_screen.settled = True
        await press(pilot, "o")
        assert "graphs: disk gone" not in shown(pilot)
        await box.app.time_travel.refresh_trends()
        await pilot.pause()
        assert "graphs: disk gone" not in shown(pilot)
        box.late += 600.0
        await box.app.time_travel.refresh_trends()
        await until(pilot, lambda: "graphs: disk gone" in shown(pilot))


async def test_every_snapshot_is_drawn_at_once_until_the_layout_has_settled(
    endless: None,
) -> None:
    box = Box()
    async with console(box) as pilot:
        assert box.app is not None
        box.app.main_screen.settled = False
        for size in (101, 102, 103):
            waiting(box, size)
            await until(pilot, lambda size=size: told(pilot) == size)  # type: ignore[misc]
        box.app.main_screen.settled = True
        waiting(box, 104)
        await pilot.pause()
        assert told(pilot) == 103


async def test_key_is_painted_at_once_and_renders_no_pane_again(
    monkeypatch: pytest.MonkeyPatch, endless: None
) -> None:
    monkeypatch.setattr(textual.screen, "UPDATE_PERIOD", 600.0)  # the next frame never comes
    box, made = Box(), list[str]()
    draw = main_screen.render_safely

    def noting(module: PaneModule, *rest: Any) -> Any:
        made.append(module.TITLE)
        return draw(module, *rest)

    async with settled(box) as pilot:
        assert box.app is not None
        screen = box.app.main_screen
        await press(pilot, "down", "up")  # a row selected for the first time adds a line
        screen._immediate_until = 0.0
        monkeypatch.setattr(main_screen, "render_safely", noting)

        async def unpainted() -> bool:
            await idle()  # the pilot's `pause` would paint
            return bool(screen._dirty_widgets or screen._compositor._dirty_regions)

        before = screen.selection
        box.app.post_message(Key("down", None))
        assert not await unpainted() and screen.selection not in (before, None) and not made
        screen._immediate_until = 0.0  # the response to the key has ended
        box.news(0.0, **CHANGES["death"](box.snapshot))
        assert await unpainted() and made, "news is painted in the next frame"
