"""Parses a time as an operator enters it: a clock time of the last day, an age, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from console.core.model.time import Moment
from console.core.text.json_values import parse_local_time

DAY_S = 86_400.0
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_AGO = re.compile(r"(\d{1,5}(?:\.\d+)?)\s*([smhd])")
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}


def parse_time(text: str, now: Moment, zone: tzinfo | None = None) -> Moment:
    """Return the moment for `18:40`, `2h`, or an ISO date and time.

    Raises ValueError if `text` is no time or lies in the future.
    """
    word = text.strip()
    if match := _AGO.fullmatch(word):
        return moment_ago(float(match[1]) * _UNIT_SECONDS[match[2]], now)
    if match := _CLOCK.fullmatch(word):
        return Moment(_last_occurrence(int(match[1]), int(match[2]), int(match[3] or 0), now, zone))
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
        word += "T00:00"
    at = parse_local_time(word, now, zone)
    if at is None:
        raise ValueError(f"{text!r} is no time: expected 18:40, 2h, or 2025-11-03T18:40")
    if at > now.at:
        raise ValueError(f"{text!r} lies in the future")
    return Moment(at)


def moment_ago(seconds: float, now: Moment) -> Moment:
    """Return the moment `seconds` before `now`."""
    return now.plus(-seconds)


def _last_occurrence(
    hour: int, minute: int, second: int, now: Moment, zone: tzinfo | None
) -> float:
    """Return the Unix time at which a clock in `zone` last showed this time.

    Clock changes are taken into account. Raises ValueError if no clock showed it within three days.
    """
    today = datetime.fromtimestamp(now.at, UTC).astimezone(zone).date()
    for days_back in range(3):
        day = today - timedelta(days=days_back)
        local_time = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
        at = local_time.timestamp()
        if at <= now.at:
            return at
    raise ValueError(f"{hour:02d}:{minute:02d} has not been for days")
