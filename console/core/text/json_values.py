"""Foreign JSON values, taken for what they are: the wrong kind is None, never a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from console.core.model import Moment

LARGEST = 2**63 - 1
"""What a store's integer can hold."""

_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,12})?)?"
    r" ?(Z|z|[+-][0-9]{2}:?[0-9]{2})?"
)

_DATE = re.compile(r"/Date\((-?[0-9]{1,14})([+-][0-9]{4})?\)/")
"""Milliseconds since the epoch, as PowerShell 5 and .NET write a time; the zone is for people."""


def as_list(value: object) -> list[Any]:
    """`value` as a list: some writers drop the brackets around one element; None is no element."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def table(value: object) -> Mapping[str, Any]:
    """`value` when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """`value` when it is a finite number that a store can hold; True is no number."""
    # By its type: what JSON is decoded to has no other, and thousands are asked for at each look.
    if type(value) is int:
        return value if abs(value) <= LARGEST else None
    return value if type(value) is float and math.isfinite(value) else None


def count(value: object) -> int | None:
    """`value` when it is a whole number of things, 0 or more; `3.0` is 3."""
    if type(value) is int:
        return value if 0 <= value <= LARGEST else None
    known = number(value)
    if known is None or known < 0 or known > LARGEST or known != int(known):
        return None
    return int(known)


def flag(value: object) -> bool | None:
    """`value` when it is true or false."""
    return value if isinstance(value, bool) else None


def text(value: object, limit: int = 1000) -> str | None:
    """`value` when it is text, its first `limit` characters. Hostile still: clean it to show."""
    return value[:limit] if isinstance(value, str) else None


QUARTER_S, FARTHEST_S = 900.0, 26 * 3600.0
"""Zones are whole quarters of an hour apart, and no two of them more than 26 hours."""
LATE_S = 120.0
"""A file is written so soon after the time that it tells."""


def zones_apart(off_s: float, within_s: float) -> float:
    """How far apart two zones are that explain why two clocks differ by `off_s`; 0: none do."""
    whole = round(off_s / QUARTER_S) * QUARTER_S
    return whole if abs(off_s - whole) <= within_s and abs(whole) <= FARTHEST_S else 0.0


def local_time(
    value: object, now: Moment, zone: tzinfo | None = None, written: float | None = None
) -> float | None:
    """Seconds since the epoch from an ISO date and time, or `/Date(1762163123000)/`; else None.

    Without a zone of its own it is read in `zone` (the machine's own when None). An hour that a
    clock change repeats is ambiguous: the reading nearest to `now` is meant. `written` is when the
    file was written that tells the time: a reading that is beside it by what two zones may be
    apart was written in another zone.
    """
    if not isinstance(value, str):
        return None
    if dotnet := _DATE.fullmatch(value.strip()):
        return int(dotnet[1]) / 1000
    if not _ISO.fullmatch(value.strip()):
        return None
    try:
        moment = datetime.fromisoformat(value.strip().upper().replace(" +", "+").replace(" Z", "Z"))
        if moment.tzinfo is not None:
            return moment.timestamp()
        both = (moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
        found = min(both, key=lambda at: (abs(at - now.at), at))
        return found if written is None else found - zones_apart(found - written, LATE_S)
    except (ValueError, OverflowError, OSError):
        return None
