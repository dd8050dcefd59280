"""Converts untrusted JSON values to Python values.

A value of the wrong type yields None or an empty object. No conversion guesses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from console.core.model.time import Moment

MAX_STORE_INTEGER = 2**63 - 1
"""The largest integer that a store can hold."""

_ISO_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,12})?)?"
    r" ?(Z|z|[+-][0-9]{2}:?[0-9]{2})?"
)

_DOTNET_DATE = re.compile(r"/Date\((-?[0-9]{1,14})([+-][0-9]{4})?\)/")
"""Milliseconds since the epoch, as PowerShell 5 and .NET write a time. The zone is informative."""


def as_list(value: object) -> list[Any]:
    """Return `value` as a list: empty for None, `[value]` for anything else than a list.

    Some writers omit the brackets around a single element.
    """
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def as_object(value: object) -> Mapping[str, Any]:
    """Return `value` if it is a JSON object, else an empty mapping."""
    return value if isinstance(value, dict) else {}


def as_number(value: object) -> float | None:
    """Return `value` if it is a finite number that a store can hold, else None.

    True and False are no numbers.
    """
    # `type()` suffices: decoded JSON has no subclasses. Each sample converts thousands of values.
    if type(value) is int:
        return value if abs(value) <= MAX_STORE_INTEGER else None
    return value if type(value) is float and math.isfinite(value) else None


def as_count(value: object) -> int | None:
    """Return `value` as an int if it is a whole number of at least 0 (`3.0` is 3), else None."""
    if type(value) is int:
        return value if 0 <= value <= MAX_STORE_INTEGER else None
    number = as_number(value)
    if number is None or number < 0 or number > MAX_STORE_INTEGER or number != int(number):
        return None
    return int(number)


def as_bool(value: object) -> bool | None:
    """Return `value` if it is a boolean, else None."""
    return value if isinstance(value, bool) else None


def as_text(value: object, max_chars: int = 1000) -> str | None:
    """Return the first `max_chars` characters of `value` if it is a string, else None.

    The text is still untrusted: sanitize it before display.
    """
    return value[:max_chars] if isinstance(value, str) else None


ZONE_STEP_S, MAX_ZONE_DIFFERENCE_S = 900.0, 26 * 3600.0
"""UTC offsets differ by multiples of a quarter of an hour, and by at most 26 hours."""
MAX_WRITE_DELAY_S = 120.0
"""Maximum time between a timestamp in a file and the write of that file."""


def zone_difference_s(clock_difference_s: float, tolerance_s: float) -> float:
    """Return the difference of two zones, in seconds, that explains a difference of two clocks.

    Return 0 if no zone difference explains it within `tolerance_s`.
    """
    zone_s = round(clock_difference_s / ZONE_STEP_S) * ZONE_STEP_S
    return (
        zone_s
        if abs(clock_difference_s - zone_s) <= tolerance_s and abs(zone_s) <= MAX_ZONE_DIFFERENCE_S
        else 0.0
    )


def parse_local_time(
    value: object, now: Moment, zone: tzinfo | None = None, written_at: float | None = None
) -> float | None:
    """Return Unix time from an ISO date and time or `/Date(1762163123000)/`, or None.

    A text without a UTC offset is read in `zone` (None: the machine's zone). An hour that a clock
    change repeats is ambiguous: the reading nearest to `now` is used. `written_at` is when the file
    that contains the text was written. A reading that differs from it by a possible zone difference
    was written in another zone, and is corrected by that difference.
    """
    if not isinstance(value, str):
        return None
    if dotnet_date := _DOTNET_DATE.fullmatch(value.strip()):
        return int(dotnet_date[1]) / 1000
    if not _ISO_DATE_TIME.fullmatch(value.strip()):
        return None
    try:
        parsed = datetime.fromisoformat(value.strip().upper().replace(" +", "+").replace(" Z", "Z"))
        if parsed.tzinfo is not None:
            return parsed.timestamp()
        readings = (parsed.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
        unix_time = min(readings, key=lambda at: (abs(at - now.at), at))
        return (
            unix_time
            if written_at is None
            else unix_time - zone_difference_s(unix_time - written_at, MAX_WRITE_DELAY_S)
        )
    except (ValueError, OverflowError, OSError):
        return None
