"""Partial updates: they send the cells of the changed regions and render only changed widgets."""

from __future__ import annotations

import random
from typing import Any

import pytest
from textual._compositor import ChopsUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from ui_fixtures import Box, console, press

from console.ui.widgets.line_view import LineView

WIDTH, HEIGHT = 120, 40


def sent(update: ChopsUpdate) -> list[tuple[int, int, Strip]]:
    """Return row, first cell and strip of each run of cells that the update sends."""
    runs = []
    for y, first, last in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < last and end > first:
                left = max(x, first)
                runs.append((y, left, strip.crop(left - x, min(end, last) - x)))
    return runs


@pytest.mark.parametrize("keys", [(), ("question_mark",), ("k",), ("slash",)])
async def test_partial_update_sends_exactly_the_cells_of_the_region(keys: tuple[str, ...]) -> None:
    rng = random.Random(7)
    async with console(Box(), (WIDTH, HEIGHT)) as pilot:
        await press(pilot, *keys)
        compositor = pilot.app.screen._compositor
        whole = compositor.render_strips()
        for _ in range(60):
            x, y = rng.randrange(WIDTH), rng.randrange(HEIGHT)
            wide, high = rng.randint(1, WIDTH - x), rng.choice((1, 1, 2, HEIGHT - y))
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


async def test_partial_update_renders_only_changed_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
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
