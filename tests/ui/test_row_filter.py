"""The row filter: matching rows, and patterns that are invalid or slow."""

from __future__ import annotations

import pytest
from ui_fixtures import Box, console, press, settle, shown

from console.ui.widgets.row_filter import FilterError, parse_filter


@pytest.mark.parametrize(
    ("typed", "row", "passes"),
    [
        ("", "anything", True),
        ("!", "anything", True),
        ("died", "02:14 DIED worker", True),
        ("40864", "PID 408", False),
        ("died|parked", "parked", True),
        ("!died|parked", "parked", False),
        ("!died", "ready", True),
        ("^02", "12:02", False),
        ("ÜBER", "überfällig", True),
        (r"kill: PID \d+$", "kill: PID 12", True),
    ],
)
def test_filter_matches_rows(typed: str, row: str, passes: bool) -> None:
    assert parse_filter(typed).matches(row) is passes


@pytest.mark.parametrize("typed", ["(", "!a[", "a**", "(?P<a", "a{99999999999999}", "\\"])
def test_invalid_pattern_raises_filter_error(typed: str) -> None:
    with pytest.raises(FilterError):
        parse_filter(typed)


def test_slow_pattern_times_out_and_hides_no_row() -> None:
    slow = parse_filter("(a|aa)+$")
    rows = ["a" * 60 + "!", "short"]
    assert [slow.matches(row) for row in rows] == [True, True]
    assert slow.description == "(a|aa)+$ takes too long: every row is shown"


async def test_events_are_filtered_by_kind_and_inverted() -> None:
    async with console(Box(), size=(160, 50)) as pilot:
        await press(pilot, "8", "slash", *"died|refused", "enter")
        assert "2 of 13" in shown(pilot) and "filter in Events: died|refused" in shown(pilot)
        assert "killed by signal 9" in shown(pilot) and "five monitors" not in shown(pilot)
        assert pilot.app.focused is not None and pilot.app.focused.id == "pane-events"
        await press(pilot, "slash", "home", "exclamation_mark", "enter")
        assert "11 of 13" in shown(pilot) and "five monitors" in shown(pilot)
        assert "0 of 5" not in shown(pilot)  # other panes are not filtered
        await press(pilot, "escape")
        assert "of 13" not in shown(pilot)


async def test_invalid_pattern_is_a_notice_and_keeps_the_last_filter() -> None:
    async with console(Box(), size=(160, 50)) as pilot:
        await press(pilot, "8", "slash", *"died", "enter")
        assert "1 of 13" in shown(pilot)
        await press(pilot, "slash", *"|ready(")
        assert "3 of 13" in shown(pilot)  # the rows follow the last valid pattern
        await press(pilot, "enter")
        await settle(pilot)
        assert "no such filter: missing )" in shown(pilot)
        assert "1 of 13" in shown(pilot)


async def test_filter_keeps_the_selected_identity() -> None:
    box = Box()
    async with console(box) as pilot:
        await press(pilot, "slash", *"watchdog", "enter", "r")
        assert "Restart worker 40864?" in shown(pilot)
