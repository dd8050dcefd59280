"""Trust in the wall clock, which decides whether old records may be deleted."""

from __future__ import annotations

import pytest

from console.core.metrics.clock_trust import REQUIRED_AGREEMENT_S, ClockTrust, update_clock_trust
from console.core.model.time import Moment

DAY = 86_400.0
AT = 1_762_165_640.0
THEN = Moment(AT, 5_000.0, "b1")
KNOWN = ClockTrust(THEN).to_fact()


@pytest.mark.parametrize(
    ("now", "leap_s"),
    [
        (Moment(AT + 3600, 8_600.0, "b1"), 0.0),
        (Moment(AT + 40 * DAY, 5_000.0 + 40 * DAY, "b1"), 0.0),
        (Moment(AT + 7200, 8_600.0, "b1"), 0.0),  # a jump of one hour is tolerated
        (Moment(AT + 730 * DAY, 8_600.0, "b1"), 730 * DAY - 3600),
        (Moment(AT - 730 * DAY, 8_600.0, "b1"), -730 * DAY - 3600),
        (Moment(AT + 600, 100.0, "b2"), 0.0),
        (Moment(AT + 0.9 * DAY, 100.0, "b2"), 0.0),
        (Moment(AT + 5 * DAY, 5 * DAY - 60.0, "b2"), 0.0),  # explained by the time since boot
        (
            Moment(AT + 5 * DAY, 100.0, "b2"),
            5 * DAY - 100,
        ),  # powered off, or wrong clock: undecidable
        (Moment(20.0, 20.0, "b2"), 20.0 - AT),
        (Moment(AT - 600, 100.0, "b2"), 0.0),
    ],
)
def test_clock_is_trusted_while_ticks_explain_its_advance(now: Moment, leap_s: float) -> None:
    found = update_clock_trust(KNOWN, None, now)
    assert found.jump_s == leap_s and found.is_trusted is (leap_s == 0.0)


def test_clock_is_trusted_again_after_a_steady_day() -> None:
    now = Moment(AT + 730 * DAY, 8_600.0, "b1")
    found = update_clock_trust(KNOWN, None, now)
    runs = 0
    while not found.is_trusted:
        now, runs = now.plus(3600.0), runs + 1
        found = update_clock_trust(found.to_fact(), None, now)
        assert found.jump_s == 0.0
    assert runs == REQUIRED_AGREEMENT_S / 3600.0


def test_reboot_leaves_the_agreed_time_unchanged() -> None:
    half = ClockTrust(THEN, REQUIRED_AGREEMENT_S / 2).to_fact()
    assert (
        update_clock_trust(half, None, Moment(AT + 600, 100.0, "b2")).agreed_s
        == REQUIRED_AGREEMENT_S / 2
    )


def test_last_stored_moment_is_the_fallback_without_a_fact() -> None:
    assert update_clock_trust(None, None, Moment(AT)).is_trusted
    assert update_clock_trust(None, THEN, THEN.plus(60.0)).is_trusted
    assert not update_clock_trust(None, THEN, Moment(AT + 700 * DAY, 100.0, "b2")).is_trusted


@pytest.mark.parametrize(
    "fact", [[], {"moment": 3}, {"moment": [1, "x", "b"]}, "x", {"moment": []}]
)
def test_damaged_fact_is_ignored(fact: object) -> None:
    assert update_clock_trust(fact, None, THEN).is_trusted


def test_clock_trust_text_names_the_jump() -> None:
    words = str(update_clock_trust(KNOWN, None, Moment(AT + 730 * DAY, 5_000.0, "b1")))
    assert words.startswith("the clock is 730d00h ahead of what was last seen of it")


# --- comparison of two moments --------------------------------------------------------------

EARLY = Moment(AT + 3600.0, 100.0, "b1")  # written while the clock was an hour ahead
LATE = Moment(AT + 20.0, 120.0, "b1")


def test_moments_of_one_boot_are_compared_by_ticks() -> None:
    assert LATE.since(EARLY) == 20.0 and EARLY.since(LATE) == 0.0
    assert EARLY.until(LATE) == 20.0 and LATE.until(EARLY) == -20.0
    assert LATE.later_than(EARLY) and not EARLY.later_than(LATE)
    assert LATE.latest(EARLY) is LATE is EARLY.latest(LATE) and LATE.latest(None) is LATE
    assert EARLY.unix_time_by(LATE) == AT


def test_moments_of_two_boots_are_compared_by_wall_clock() -> None:
    other = Moment(AT, 9_000.0, "b0")
    assert LATE.since(other) == 20.0 and other.until(LATE) == 20.0 and LATE.later_than(other)
    assert other.unix_time_by(LATE) == AT
    ahead = Moment(AT + 700 * DAY, 9_000.0, "b0")
    assert LATE.since(ahead) == LATE.tick
