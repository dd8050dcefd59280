"""Sanitizing of untrusted text, and formatting of durations, sizes and times."""

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
def test_sanitize_text_leaves_no_control_characters(text: str) -> None:
    shown = sanitize_text(text)
    assert all(unicodedata.category(char)[0] != "C" for char in shown)
    assert not set(shown) & {"\u2028", "\u2029"}
    assert shown.encode().decode() == shown


@given(st.text("abc äöü €漢字 [red][/]", max_size=200))
def test_sanitize_text_keeps_printable_text(text: str) -> None:
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
def test_sanitize_text_escapes_hostile_characters(raw: str, shown: str) -> None:
    assert sanitize_text(raw) == shown


def test_sanitize_text_truncates_with_an_ellipsis() -> None:
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
def test_format_duration_picks_the_two_largest_units(seconds: float | None, words: str) -> None:
    assert format_duration(seconds) == words


def test_format_coarse_duration_rounds_down_to_steps() -> None:
    assert [format_coarse_duration(s) for s in (9, 10, 19, 20, 59, 60, None)] == [
        "9s", "10s", "10s", "20s", "50s", "1m", "?",
    ]  # fmt: skip


@given(st.floats(0, 1e15))
def test_format_size_is_at_most_five_characters(count: float) -> None:
    assert len(format_size(count)) <= 5


def test_format_size_uses_binary_units() -> None:
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


def test_times_are_formatted_in_utc_and_in_local_time() -> None:
    moment = Moment(1_762_162_572.9996)
    assert format_utc(moment) == "2025-11-03T09:36:12.999Z"
    assert format_utc(None) is None
    seoul = timezone(timedelta(hours=9))
    assert format_clock(moment, seoul) == "18:36:12"
    assert format_date_time(moment, seoul) == "2025-11-03 18:36:12"
    assert (format_clock(None), format_date_time(None)) == ("--:--:--", "-")
    assert format_clock(Moment(0), UTC) == "00:00:00"
