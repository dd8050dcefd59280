"""A time as a person gives it: a clock time of the last day, a while ago, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from console.core.model import Moment
from console.core.text.json_values import local_time

DAY_S = 86_400.0
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_AGO = re.compile(r"(\d{1,5}(?:\.\d+)?)\s*([smhd])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}


def parse(text: str, now: Moment, zone: tzinfo | None = None) -> Moment:
    """`18:40`, `2h`, or an ISO date and time, never later than now. Raises ValueError."""
    word = text.strip()
    if found := _AGO.fullmatch(word):
        return ago(float(found[1]) * _UNITS[found[2]], now)
    if found := _CLOCK.fullmatch(word):
        return Moment(_clock(int(found[1]), int(found[2]), int(found[3] or 0), now, zone))
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
        word += "T00:00"
    at = local_time(word, now, zone)
    if at is None:
        raise ValueError(f"{text!r} is no time: expected 18:40, 2h, or 2025-11-03T18:40")
    if at > now.at:
        raise ValueError(f"{text!r} lies in the future")
    return Moment(at)


def ago(seconds: float, now: Moment) -> Moment:
    """This many seconds before now."""
    return now.plus(-seconds)


def _clock(hour: int, minute: int, second: int, now: Moment, zone: tzinfo | None) -> float:
    """The last time that a clock on the wall showed this; clock changes heeded."""
    today = datetime.fromtimestamp(now.at, UTC).astimezone(zone).date()
    for back in range(3):
        day = today - timedelta(days=back)
        shown = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
        at = shown.timestamp()
        if at <= now.at:
            return at
    raise ValueError(f"{hour:02d}:{minute:02d} has not been for days")
