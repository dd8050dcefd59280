"""Clock jumps on a healthy box: the jump itself is the only event recorded."""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from simulated_box import SimBox, simulated
from simulated_night import BO, ask
from simulated_time import Loop

from console.core.model.commands import Verb
from console.core.model.events import EventKind
from console.core.model.snapshot import Snapshot, Verdict
from console.core.status_document import format_event, format_status
from console.runtime.snapshots.one_shot import take_snapshot

K = EventKind
SEOUL, BERLIN = "Asia/Seoul", "Europe/Berlin"
PROGRAMS = ("task_watchdog.py", "realtime_pipeline.py")
EXPECTED = {K.STARTED, K.ADOPTED, K.DAEMON_STARTED, K.DAEMON_STOPPED, K.VERDICT_CHANGED}


async def quiet(box: SimBox, hours: float, step_s: float, sleep_s: float) -> None:
    """Run a healthy box for some hours; step and suspend its clocks after half of them."""
    for program in PROGRAMS:
        box.run(program)
    assert ask(box, BO, Verb.ENSURE).done
    async with box.on_duty():
        await asyncio.sleep(1800 * hours + 20)
        box.time.step(step_s)
        box.time.suspend(sleep_s)
        await asyncio.sleep(1800 * hours)


def live(place: Path, began: str, zone: str, hours: float, step_s: float, sleep_s: float) -> SimBox:
    at = datetime.fromisoformat(began).replace(tzinfo=ZoneInfo(zone)).timestamp()
    with simulated(place, at, zone) as box:
        loop = Loop(box.time)
        try:
            loop.run_until_complete(quiet(box, hours, step_s, sleep_s))
        finally:
            loop.close()
        box.events = box.box.store.events()
        box.canaries = box.box.store.read(
            "SELECT tick FROM samples WHERE monitor = 'canary' ORDER BY id"
        )
    return box


@pytest.mark.parametrize(
    ("step_s", "sleep_s", "words"),
    [
        (-90.0, 0.0, ["the clock was set back by 90 s"]),
        (90.0, 0.0, ["the clock was set forward by 90 s"]),
        (-3600.0, 0.0, ["the clock was set back by 3600 s"]),
        (3600.0, 0.0, ["the clock was set forward by 3600 s"]),
        (0.0, 30.0, ["the machine slept for 30s"]),
        (0.0, 7200.0, ["the machine slept for 2h00m"]),
        (-20.0, 28_800.0, ["the machine slept for 8h00m, and the clock was set back by 20 s"]),
        (-0.2, 0.0, []),
    ],
    ids=["back", "forward", "hour back", "hour on", "nap", "sleep", "sleep and back", "slewed"],
)
def test_clock_jump_is_recorded_and_raises_no_alarm(
    tmp_path: Path, step_s: float, sleep_s: float, words: list[str]
) -> None:
    box = live(tmp_path, "2026-01-14 06:00", SEOUL, 1.5, step_s, sleep_s)
    assert [event.reason for event in box.events if event.kind is K.NOTICED] == words
    _nothing_else(box)


@pytest.mark.parametrize(
    ("began", "local"),
    [("2025-10-26 01:30", "the hour that comes twice"), ("2025-03-30 01:00", "the one left out")],
    ids=["autumn", "spring"],
)
def test_summer_time_change_records_no_event(tmp_path: Path, began: str, local: str) -> None:
    box = live(tmp_path, began, BERLIN, 3.0, 0.0, 0.0)
    _nothing_else(box)


def _nothing_else(box: SimBox) -> None:
    """Assert that there is no false death, double canary, alarm or negative age."""
    told = [event for event in box.events if event.kind is not K.NOTICED]
    assert {event.kind for event in told} == EXPECTED, [*map(format_event, told)]
    verdicts = [event.data["verdict"] for event in told if event.kind is K.VERDICT_CHANGED]
    assert verdicts == ["healthy"]
    sent = [row[0] for row in box.canaries]
    assert len(sent) >= 3 and min(b - a for a, b in pairwise(sent)) >= 1800
    assert all(" -" not in format_status(snapshot).partition("note:")[0] for snapshot in box.shown)


@pytest.mark.parametrize("ahead_s", [3600.0, 730 * 86_400.0])
def test_clock_set_back_does_not_hide_a_later_failure(tmp_path: Path, ahead_s: float) -> None:
    async def night(box: SimBox) -> tuple[Snapshot, Snapshot]:
        for program in PROGRAMS:
            box.run(program)
        assert ask(box, BO, Verb.ENSURE).done
        async with box.on_duty():
            await asyncio.sleep(400)
            box.time.step(-ahead_s)
            await asyncio.sleep(200)
            before = take_snapshot(box.box)
            box.close_queue()
            await asyncio.sleep(400)
            return before, take_snapshot(box.box)

    at = datetime.fromisoformat("2026-01-14 06:00").replace(tzinfo=ZoneInfo(SEOUL)).timestamp()
    with simulated(tmp_path, at + ahead_s, SEOUL) as box:
        loop = Loop(box.time)
        try:
            before, found = loop.run_until_complete(night(box))
        finally:
            loop.close()
        told = box.box.store.events(kinds=(K.VERDICT_CHANGED,))
    assert before.verdict is Verdict.HEALTHY
    assert found.verdict is Verdict.DOWN, found.reasons
    assert any("no answer" in reason for reason in found.reasons)
    assert told[-1].data["verdict"] == "down"
