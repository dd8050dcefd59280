"""Ages on the screen: for how long each reads the same, so that nothing wakes in vain."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from math import inf

from console.core.model import Moment, Snapshot

_MARKS = (10.0, 15.0, 20.0, 30.0, 40.0, 45.0, 50.0, 60.0)
"""Under a minute ages are shown in tens; what is judged by an age changes at 15 or 45 s."""
_MINUTE_S, _DAY_S, _HOUR_S = 60.0, 86_400.0, 3_600.0


class Ticking(Moment):
    """A moment that notes until when every age it was asked for reads the same."""

    __slots__ = ("_left",)
    _left: list[float]

    @classmethod
    def at_the(cls, moment: Moment) -> Ticking:
        """This moment, with nothing asked of it yet."""
        made = cls(moment.at, moment.tick, moment.boot)
        object.__setattr__(made, "_left", [inf])
        return made

    @property
    def steady_s(self) -> float:
        """Seconds for which nothing that was asked changes its words."""
        return self._left[0]

    def since(self, earlier: Moment) -> float:
        age = Moment.since(self, earlier)
        self._left[0] = min(self._left[0], _until_older(age))
        return age

    def until(self, later: Moment) -> float:
        left = Moment.until(self, later)
        change = _since_younger(left) if left >= 0 else _until_older(-left)
        self._left[0] = min(self._left[0], change)
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
        """Whether drawing `of` at `now` would show what is there already."""
        return of == self._of and 0.0 <= self.elapsed(now) < self._steady_s

    def drawn(self, of: object, now: Ticking) -> None:
        """It was drawn anew; `now` was asked for every age on it."""
        self._of, self._now, self._steady_s = of, now, now.steady_s

    def left_s(self, now: Moment) -> float:
        """Seconds for which it still holds, if nothing happens."""
        return self._steady_s - self.elapsed(now)

    def elapsed(self, now: Moment) -> float:
        """Seconds since it was drawn; negative when the picture is of an earlier moment."""
        return now.tick - self._now.tick if now.boot == self._now.boot else -1.0


def alike(one: Snapshot, other: Snapshot) -> bool:
    """Whether two snapshots tell the same of a box, at whatever moments."""
    beat = replace(one.daemon, heartbeat=other.daemon.heartbeat)  # shown by the verdict alone
    return replace(one, moment=other.moment, daemon=beat) == other
