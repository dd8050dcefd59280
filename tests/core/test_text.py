"""The one gate for foreign text, and figures for people."""

from __future__ import annotations

import unicodedata
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.model.time import Moment
from console.core.text.formatting import (
    format_clock,
    format_coarse_duration,
    format_date_time,
    format_duration,
    format_size,
    format_utc,
    sanitize_text,
)


@given(st.text(st.characters(codec=None), max_size=300))
def test_nothing_that_a_terminal_obeys_passes(text: str) -> None:
    shown = sanitize_text(text)
    assert all(unicodedata.category(char)[0] != "C" for char in shown)
    assert not set(shown) & {"\u2028", "\u2029"}
    assert shown.encode().decode() == shown


@given(st.text("abc äöü €漢字 [red][/]", max_size=200))
def test_what_people_read_stays_as_it_is(text: str) -> None:
    assert sanitize_text(text) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b]0;pwn\x07", "\\x1b]0;pwn\\x07"),
        ("a\tb\nc\r", "a    b\\nc\\r"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202epdf", "\\u202epdf"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\ufeff", "\\ufeff"),
    ],
)
def test_each_hostile_character_is_shown_as_its_escape(raw: str, shown: str) -> None:
    assert sanitize_text(raw) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert sanitize_text("x" * 11, 10) == "x" * 10 + "…"
    assert sanitize_text("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "?"), (-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"),
        (3600, "1h00m"), (11_220, "3h07m"), (86_399, "23h59m"), (86_400, "1d00h"),
        (525_600, "6d02h"), (31_536_000, "365d00h"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert format_duration(seconds) == words


def test_a_coarse_duration_changes_seldom() -> None:
    assert [format_coarse_duration(s) for s in (9, 10, 19, 20, 59, 60, None)] == [
        "9s", "10s", "10s", "20s", "50s", "1m", "?",
    ]  # fmt: skip


@given(st.floats(0, 1e15))
def test_a_size_is_five_characters_at_most(count: float) -> None:
    assert len(format_size(count)) <= 5


def test_sizes() -> None:
    known = [None, 0, 999, 1000, 1536, 1024 * 1024, 5e12]
    assert [format_size(one) for one in known] == [
        "?",
        "0B",
        "999B",
        "1.0K",
        "1.5K",
        "1.0M",
        "4.5T",
    ]


def test_times_are_utc_for_machines_and_local_for_people() -> None:
    moment = Moment(1_762_162_572.9996)
    assert format_utc(moment) == "2025-11-03T09:36:12.999Z"
    assert format_utc(None) is None
    seoul = timezone(timedelta(hours=9))
    assert format_clock(moment, seoul) == "18:36:12"
    assert format_date_time(moment, seoul) == "2025-11-03 18:36:12"
    assert (format_clock(None), format_date_time(None)) == ("--:--:--", "-")
    assert format_clock(Moment(0), UTC) == "00:00:00"
