"""What is sent of a changed screen is what is on it, asked of no widget that has not changed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from stage import Box, console, press
from textual._compositor import ChopsUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from console.ui.widgets.line_view import LineView

WIDTH, HEIGHT = 120, 40


def sent(update: ChopsUpdate) -> list[tuple[int, int, Strip]]:
    """Row, first cell and cells of each run that the terminal is sent."""
    runs = []
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < last and end > first:
                left = max(x, first)
                runs.append((y, left, strip.crop(left - x, min(end, last) - x)))
    return runs


@pytest.mark.parametrize("keys", [(), ("question_mark",), ("k",), ("slash",)])
async def test_what_is_sent_of_any_region_is_what_is_there(keys: tuple[str, ...]) -> None:
    calm = random.Random(7)
    async with console(Box(), (WIDTH, HEIGHT)) as pilot:
        await press(pilot, *keys)
        compositor = pilot.app.screen._compositor
        whole = compositor.render_strips()
        for _ in range(60):
            x, y = calm.randrange(WIDTH), calm.randrange(HEIGHT)
            wide, high = calm.randint(1, WIDTH - x), calm.choice((1, 1, 2, HEIGHT - y))
            compositor._dirty_regions = {Region(x, y, wide, min(high, HEIGHT - y))}
            update: Any = compositor.render_partial_update()
            runs = sent(update)
            cells = {(row, at + n) for row, at, strip in runs for n in range(strip.cell_length)}
            assert cells == {
                (row, x + n) for row in range(y, y + min(high, HEIGHT - y)) for n in range(wide)
            }
            for row, at, strip in runs:
                there = whole[row].crop(at, at + strip.cell_length)
                assert strip.text == there.text
                assert [*strip.simplify()] == [*there.simplify()]


async def test_who_has_not_changed_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(Box(), (WIDTH, HEIGHT)) as pilot:
        asked: list[tuple[str | None, Region]] = []
        draw = Widget.render_lines

        def noting(widget: Widget, crop: Region) -> list[Strip]:
            asked.append((widget.id, crop))
            return draw(widget, crop)

        monkeypatch.setattr(Widget, "render_lines", noting)
        x, y, *_ = pilot.app.screen.query_one("#pane-queue", LineView).region
        compositor = pilot.app.screen._compositor
        compositor._dirty_regions = {Region(x + 2, y + 1, 9, 1)}
        assert compositor.render_partial_update() is not None
        assert asked == [("pane-queue", Region(2, 1, 9, 1))]
