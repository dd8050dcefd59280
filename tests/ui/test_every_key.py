"""Every key of the keymap and of each dialog: its effect, or the reason for having none."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from ui_fixtures import Box, console, press, settle, shown

from console.core.processes.instances import DETACHED_CHILDREN_WARNING
from console.core.records import replace
from console.ui.dialogs import confirm_text
from console.ui.dialogs.confirm import ConfirmDialog
from console.ui.dialogs.confirm_text import Question
from console.ui.dialogs.help import HelpDialog
from console.ui.dialogs.log import LogDialog
from console.ui.dialogs.palette import PaletteDialog
from console.ui.dialogs.why import WhyDialog
from console.ui.keymap import COMMAND_SPECS, RESERVED_KEYS
from screenshots.generator.fixture_night import healthy_snapshot

SIGHTS = {
    "help": "Help  (Esc closes)",
    "ensure": "● done as asked",
    "restart": "Restart worker 40864?",
    "kill": "Kill worker 40864?",
    "why": "Why · worker",
    "handover": "there is no ledger here to tell from",
    "log": "Log of worker",
    "duplicates": "worker has no surplus instance",
    "acknowledge": "no alert stands",
    "filter": "filter: a word",
    "sort": "instances sorted by age",
    "palette": "Palette",
    "canary": "● done as asked",
    "baseline": "Stop the baseline?",
    "goto": "a clock time of the last day",
    "zoom": "1 Processes",
    "freeze": "FROZEN",
    "theme": "Themes",
    "daemon": "the monitors are run by daemon 38002 already",
}
"""The text that each command's key shows. Other modules test the commands in `ELSEWHERE`."""
ELSEWHERE = {"leave", "earlier", "later", "back", "on", "shorter", "longer", "redraw"}
PANES = dict(zip("12345678", range(8), strict=True))


def test_every_command_is_covered() -> None:
    assert set(SIGHTS) | ELSEWHERE == {entry.id for entry in COMMAND_SPECS}


@pytest.mark.parametrize(
    ("id", "key"),
    [
        (entry.id, key)
        for entry in COMMAND_SPECS
        for key in (entry.key, *entry.other_keys)
        if entry.id in SIGHTS
    ],
)
async def test_key_runs_its_command(id: str, key: str) -> None:
    async with console(Box()) as pilot:
        await press(pilot, key)
        await settle(pilot)
        assert SIGHTS[id] in shown(pilot)
        assert id != "zoom" or "2 Monitors" not in shown(pilot)


@pytest.mark.parametrize("id", ["ensure", "restart", "kill", "why", "log", "duplicates"])
async def test_key_without_a_role_reports_the_missing_selection(id: str) -> None:
    box = Box(replace(healthy_snapshot(), roles=()))
    async with console(box) as pilot:
        key = next(entry.key for entry in COMMAND_SPECS if entry.id == id)
        await press(pilot, key)
        said = shown(pilot)
        assert box.asked == []
        assert (
            "no role is selected" in said
            or "nothing is selected" in said
            or "has no surplus" in said
        )


async def test_navigation_keys_move_focus_and_selection() -> None:
    """The keys 1 to 8 and Tab move the focus; arrows, pages, Home and End select or scroll."""
    assert set(PANES) <= set(RESERVED_KEYS)
    async with console(Box(), size=(120, 40)) as pilot:
        app = pilot.app
        for key in PANES:
            await press(pilot, key)
            assert app.focused is not None
            assert f" {key} " in app.focused._strips[0].text  # type: ignore[attr-defined]
        await press(pilot, "1", "tab")
        assert app.focused is not None and app.focused.id == "pane-monitors"
        await press(pilot, "shift+tab", "shift+tab")
        assert app.focused is not None and app.focused.id == "pane-events"
        below = re.search(r"↓ (\d+) more", shown(pilot))
        assert below
        top, end, almost = below[0], f"↑ {below[1]} more", f"↑ {int(below[1]) - 1} more"
        scrolled = {"down": "↑ 1 more", "pagedown": end, "up": almost, "pageup": top}
        for key, seen in (scrolled | {"end": end, "home": top}).items():
            await press(pilot, key)
            assert seen in shown(pilot), key
        await press(pilot, "1")
        chosen = {"end": "27428", "pageup": "worker", "down": "40864", "pagedown": "27428"}
        for key, seen in (chosen | {"home": "worker", "up": "worker"}).items():
            await press(pilot, key)
            assert re.search(f"▸ +{seen}", shown(pilot)), key


@pytest.mark.parametrize(
    ("opens", "screen", "closes"),
    [
        ("question_mark", HelpDialog, ["escape", "q", "question_mark", "f1", "enter"]),
        ("w", WhyDialog, ["escape", "q", "w", "enter"]),
        ("l", LogDialog, ["escape", "q", "l"]),
        ("colon", PaletteDialog, ["escape"]),
        ("r", ConfirmDialog, ["escape", "n", "enter"]),
    ],
)
async def test_dialog_closes_by_each_of_its_keys_and_submits_nothing(
    opens: str, screen: type, closes: list[str]
) -> None:
    box = Box()
    async with console(box) as pilot:
        for key in closes:
            await press(pilot, opens)
            assert isinstance(pilot.app.screen, screen), key
            await press(pilot, key)
            assert pilot.app.screen is box.app.main_screen, key  # type: ignore[union-attr]
        assert box.asked == []


@pytest.mark.parametrize("opens", ["question_mark", "w"])
async def test_dialog_longer_than_the_screen_scrolls(opens: str) -> None:
    async with console(Box(), size=(40, 10)) as pilot:
        await press(pilot, opens)
        assert "↑" not in _foot(shown(pilot))
        for key in ("down", "pagedown"):
            await press(pilot, key)
            assert "↑" in _foot(shown(pilot)), key
        await press(pilot, "pageup", "pageup", "up")
        assert "↑" not in _foot(shown(pilot))


def _foot(text: str) -> str:
    """Return the dialog's lower border."""
    return next(row for row in reversed(text.splitlines()) if row.lstrip().startswith("╰"))


async def test_help_scrolls_by_space_end_and_home() -> None:
    async with console(Box(), size=(80, 24)) as pilot:
        await press(pilot, "question_mark", "space")
        assert "↑ 10 more" in shown(pilot)
        await press(pilot, "end")
        assert "↓" not in _foot(shown(pilot))
        await press(pilot, "home")
        assert "↑" not in _foot(shown(pilot))


async def test_command_keys_under_a_dialog_do_nothing() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "question_mark", "e", "c", "b", "x", "k", "r")
        assert isinstance(pilot.app.screen, HelpDialog)
        assert box.asked == []


@pytest.mark.parametrize("ask", [confirm_text.kill_question, confirm_text.restart_question])
def test_detached_children_warning_is_shown_only_for_adopted_workers(
    ask: Callable[..., Question],
) -> None:
    """The children of an adopted worker lack the supervisor's environment markers."""
    for view in healthy_snapshot().roles:
        for instance in view.instances:
            told = [one.text for one in ask(healthy_snapshot(), view, instance).lines]
            assert any(DETACHED_CHILDREN_WARNING in text for text in told) == instance.adopted
