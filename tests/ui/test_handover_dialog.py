"""The hand-over dialog: the document of `report` since the operator's last view."""

from __future__ import annotations

import pytest
from ui_fixtures import Box, console, press, settle, shown

from console.core.handover.builder import build_handover
from console.core.handover.markdown import render_markdown
from console.core.handover.model import Handover
from console.core.model.events import Event, EventKind
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import replace
from console.core.text.formatting import format_duration
from console.ui.dialogs.handover import HandoverDialog, render_handover
from screenshots.generator.fixture_night import NOW, healthy_snapshot
from screenshots.generator.fixture_trouble import down_snapshot

LOOKED = NOW.plus(-3 * 3600)


class Desk:
    """Builds the hand-over of a scripted box and keeps the requested start times."""

    def __init__(self) -> None:
        self.asked: list[Moment] = []
        self.error: Exception | None = None

    async def tell(self, snapshot: Snapshot, since: Moment) -> Handover:
        self.asked.append(since)
        if self.error is not None:
            raise self.error
        return build_handover(snapshot, snapshot.events, since)


async def test_dialog_covers_the_time_since_the_last_view_or_the_whole_day() -> None:
    desk, box = Desk(), Box()
    early, late = (
        Event(EventKind.NOTICED, NOW.plus(-hours * 3600), "", "ana", f"{word} note", id=number)
        for number, hours, word in ((1, 9, "an early"), (2, 1, "a late"))
    )
    box.snapshot = replace(healthy_snapshot(), events=(early, late))
    async with console(box, size=(100, 30), build_handover=desk.tell, last_viewed=LOOKED) as pilot:
        await press(pilot, "h")
        await settle(pilot)
        seen = shown(pilot)
        assert "since you last looked" in seen and f"({format_duration(3 * 3600)} ago)" in seen
        assert "a late note (#2)" in seen and "an early note" not in seen
        await press(pilot, "d")
        await settle(pilot)
        assert "the last day" in shown(pilot) and "an early note (#1)" in shown(pilot)
        await press(pilot, "d")
        await settle(pilot)
        assert "an early note" not in shown(pilot)
    assert desk.asked == [LOOKED, NOW.plus(-86_400), LOOKED]


async def test_dialog_covers_one_day_without_a_last_view() -> None:
    desk = Desk()
    async with console(Box(), build_handover=desk.tell) as pilot:
        await press(pilot, "h", "d")
        await settle(pilot)
        assert "the last day" in shown(pilot) and "you last looked" not in shown(pilot)
    assert desk.asked == [NOW.plus(-86_400)]


@pytest.mark.parametrize("key", ["escape", "q", "h", "enter"])
async def test_dialog_closes_by_each_of_its_keys(key: str) -> None:
    async with console(Box(), build_handover=Desk().tell) as pilot:
        await press(pilot, "h")
        assert isinstance(pilot.app.screen, HandoverDialog)
        await press(pilot, key)
        assert not isinstance(pilot.app.screen, HandoverDialog)


async def test_dialog_scrolls_to_its_end() -> None:
    async with console(Box(), size=(80, 24), build_handover=Desk().tell) as pilot:
        await press(pilot, "h")
        await settle(pilot)
        assert "In short" in shown(pilot) and "Background jobs" not in shown(pilot)
        await press(pilot, "end")
        assert "every 30m" in shown(pilot)
        await press(pilot, "home")
        assert "In short" in shown(pilot)


async def test_unreadable_ledger_is_reported() -> None:
    desk = Desk()
    desk.error = OSError("the disk \x1b[31mburns")
    async with console(Box(), build_handover=desk.tell) as pilot:
        await press(pilot, "h")
        await settle(pilot)
        assert "the ledger cannot be read: the disk" in shown(pilot)
        assert "\x1b[31m" not in shown(pilot)


@pytest.mark.parametrize("width", [30, 75, 155])
def test_dialog_shows_every_claim_of_the_handover(width: int) -> None:
    told = build_handover(down_snapshot(), down_snapshot().events, NOW.plus(-86_400))
    lines = [one.text for one in render_handover(told, width)]
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    claims = [*told.summary, *told.workers, *told.queue, *told.watchdog, *told.pipeline]
    claims += [*told.upcoming, *told.unknown, *(one.claim for one in told.conditions)]
    assert len(claims) > 15 and len(told.timeline) > 5 and told.findings and told.jobs
    for claim in claims:
        assert claim.text in text, claim
    for line in told.timeline:
        assert line.text in text, line
    for finding in told.findings:
        assert f"{finding.severity.value}" in text and finding.title in text
    titles = [line[3:] for line in render_markdown(told).splitlines() if line.startswith("## ")]
    assert len(titles) > 8 and all(title in text for title in titles)
