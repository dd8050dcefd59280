"""Ages on the screen: for how long each reads the same, so that nothing wakes in vain."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import Any, Generic, TypeVar, cast

from console.core.frozen import replace
from console.core.model import Moment, Snapshot

_MARKS = (10.0, 15.0, 20.0, 30.0, 40.0, 45.0, 50.0, 60.0)
"""Under a minute ages are shown in tens; what is judged by an age changes at 15 or 45 s."""
_MINUTE_S, _DAY_S, _HOUR_S = 60.0, 86_400.0, 3_600.0


Record = TypeVar("Record")


class Ticking(Moment):
    """A moment that notes until when every age it was asked for reads the same."""

    __slots__ = ("_steady",)
    _steady: list[float]

    @classmethod
    def at_the(cls, moment: Moment) -> Ticking:
        """This moment, with nothing asked of it yet."""
        made = cls(moment.at, moment.tick, moment.boot)
        object.__setattr__(made, "_steady", [inf])
        return made

    @property
    def steady_s(self) -> float:
        """Seconds for which nothing that was asked changes its words."""
        return self._steady[0]

    def since(self, earlier: Moment) -> float:
        age = Moment.since(self, earlier)
        self._steady[0] = min(self._steady[0], _until_older(age))
        return age

    def until(self, later: Moment) -> float:
        left = Moment.until(self, later)
        change = _since_younger(left) if left >= 0 else _until_older(-left)
        self._steady[0] = min(self._steady[0], change)
        return left


def _until_older(age: float) -> float:
    """Seconds until an age reads differently."""
    if age < _MINUTE_S:
        return _MARKS[bisect_right(_MARKS, age)] - age
    step = _MINUTE_S if age < _DAY_S else _HOUR_S
    return step - age % step


def _since_younger(left: float) -> float:
    """Seconds until what is still to come reads differently."""
    if left < _MINUTE_S:
        return left - max((mark for mark in (0.0, *_MARKS) if mark <= left), default=0.0)
    return left % (_MINUTE_S if left < _DAY_S else _HOUR_S)


class Standing:
    """What something was last drawn from, and for how long that still holds."""

    def __init__(self) -> None:
        self._of: object = None
        self._now = Moment(0.0)
        self._steady_s = 0.0

    def holds(self, of: object, now: Moment) -> bool:
        """Whether drawing `of` at `now` would show what is there already: what was drawn decides
        what of it counts.
        """
        return self._of == of and self.lasts(now)

    def lasts(self, now: Moment) -> bool:
        """Whether every age in it still reads the same."""
        return 0.0 <= self.elapsed(now) < self._steady_s

    def drawn(self, of: object, now: Ticking) -> None:
        """It was drawn anew; `now` was asked for every age on it."""
        self._of, self._now, self._steady_s = of, now, now.steady_s

    def left_s(self, now: Moment) -> float:
        """Seconds for which it still holds, if nothing happens."""
        return self._steady_s - self.elapsed(now)

    def elapsed(self, now: Moment) -> float:
        """Seconds since it was drawn; negative when the picture is of an earlier moment."""
        return now.tick - self._now.tick if now.boot == self._now.boot else -1.0


class Noted(Generic[Record]):
    """A record that notes what it was asked for: equal to another one that would answer the same.

    It passes for the record itself; a moment that it is given is told instead of its own.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._asked: dict[str, object] = {}

    def at(self, now: Moment) -> Record:
        """To be asked as of another moment, which is nobody's news."""
        self.moment = now
        return cast(Record, self)

    def __getattr__(self, name: str) -> Any:
        """What the record says, noted; methods ask in our name."""
        value = getattr(self._record, name)
        if hasattr(value, "__func__"):
            return value.__func__.__get__(self)
        self._asked[name] = value
        return value

    def __eq__(self, other: object) -> bool:
        """Whether `other` would answer what this one was asked for as it did."""
        if not isinstance(other, Noted):
            return NotImplemented
        record = other._record
        return record is self._record or all(
            getattr(record, name) == value for name, value in self._asked.items()
        )

    __hash__ = None  # type: ignore[assignment]


def alike(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots tell the same of a box, at whatever moments."""
    beat = replace(one.daemon, heartbeat=other.daemon.heartbeat)  # shown by the verdict alone
    return replace(one, moment=other.moment, daemon=beat) == other
