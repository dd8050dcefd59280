"""Keys that arrive in one burst have the same effect as keys typed one after another."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot
from textual.widgets import Input
from ui_fixtures import Box, burst, console, heard, press, shown

from console.core.model.commands import Verb
from console.core.model.views import BaselineView
from console.core.records import replace
from console.ui.dialogs import confirm
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.dialogs.palette import PaletteDialog
from screenshots.generator.fixture_night import healthy_snapshot


def stands(pilot: Pilot[int]) -> tuple[object, ...]:
    """Return the open screens, the focus and the settings of the console."""
    board, screen = pilot.app.screen_stack[0], pilot.app.screen
    typed = screen.focused.value if isinstance(screen.focused, Input) else None
    return (
        *(type(one).__name__ for one in pilot.app.screen_stack),
        screen.focused and screen.focused.id,
        typed,
        board.filter_input.row_filter.text,
        board.filter_input.display,
        board.zoomed_pane,
        board.instance_order,
        board.selection,
        pilot.app.theme,
        getattr(screen, "search_word", ""),
    )


@pytest.mark.parametrize(
    "keys",
    [
        (*"/trick",),
        (*"/trick", "enter", "o"),
        (*"/trick", "backspace", "escape", "z"),
        (*"/40864", "enter", *"2/canary", "enter", "z"),
        (*"3z",),
        (*"tlight", "enter", "o"),
        (*":zo", "enter", "escape", "o"),
        (*":the", "down", "down", "enter", "2"),
        ("?", "escape", "2", "w", "escape", "z"),
        (*"l/fail", "backspace", *"led"),
        (*"l/failed", "enter"),
        (*"l/failed", "enter", "escape", "escape", "o"),
        (*"lq/lq",),
    ],
    ids=" ".join,
)
async def test_key_burst_has_the_effect_of_single_keys(keys: tuple[str, ...]) -> None:
    slow, fast = Box(), Box()
    async with console(slow) as pilot:
        await press(pilot, *keys)
        expected = stands(pilot)
    async with console(fast) as pilot:
        await burst(pilot, *keys)
        assert stands(pilot) == expected
    assert slow.asked == fast.asked == []


async def test_filter_receives_the_whole_burst() -> None:
    box = Box()
    async with console(box) as pilot:
        await burst(pilot, *"/trick")
        board = pilot.app.screen
        assert board is pilot.app.screen_stack[0]
        assert board.filter_input.value == board.filter_input.row_filter.text == "trick"
        assert box.asked == []  # the main screen would send a canary for `c`


@pytest.mark.parametrize(
    "keys",
    [("r", "y"), ("r", "y", "enter", "y"), ("k", *"worker", "enter"), ("k", *"trick", "enter")],
    ids=" ".join,
)
async def test_question_ignores_keys_typed_before_it_is_readable(keys: tuple[str, ...]) -> None:
    box = Box()
    async with console(box) as pilot:
        await burst(pilot, *keys)
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await heard(pilot)
        prompt = pilot.app.screen.prompt
        assert prompt is None or prompt.value == ""
        assert box.asked == []
        await burst(pilot, *(("y",) if prompt is None else (*"worker", "enter")))
        assert [command.verb for command in box.asked] == [
            Verb.RESTART if keys[0] == "r" else Verb.KILL
        ]


async def test_question_hides_its_keys_until_it_accepts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confirm, "MIN_READING_TIME_S", 3600.0)
    box = Box()
    async with console(box) as pilot:
        await pilot.press("r", "y", "enter")
        assert "Restart worker 40864?" in shown(pilot)
        assert "Cancel" not in shown(pilot) and "y  restart" not in shown(pilot)
        assert box.asked == []


async def test_keys_after_a_question_in_a_burst_are_dropped() -> None:
    box = Box(replace(healthy_snapshot(), baseline=BaselineView()))
    async with console(box) as pilot:
        await burst(pilot, "r", *"nbcxa", "enter", *"qe")
        assert isinstance(pilot.app.screen, ConfirmDialog)
        assert box.asked == []


async def test_question_can_be_cancelled_within_a_burst() -> None:
    box = Box()
    async with console(box) as pilot:
        await burst(pilot, "r", "escape", *"kx", "escape", "o")
        assert not isinstance(pilot.app.screen, ConfirmDialog)
        assert pilot.app.screen_stack[0].instance_order == "age"
        assert box.asked == []


async def test_console_quits_while_a_question_ignores_keys() -> None:
    async with console(Box()) as pilot:
        await burst(pilot, "r", "ctrl+c", *"kkk")
        assert pilot.app.return_code == 0


async def test_palette_highlights_the_result_of_the_whole_burst() -> None:
    async with console(Box()) as pilot:
        await burst(pilot, *":theme", "down")
        palette = pilot.app.screen
        assert isinstance(palette, PaletteDialog)
        assert palette.prompt is not None and palette.prompt.value == "theme"
        assert palette.index == 1
