"""Computes how long a rendered part of the screen stays valid, so that no redraw is in vain.

AgeTracker records when the text of an age changes; AccessRecorder records which fields of a
snapshot a rendering has read.
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import Any, Generic, TypeVar, cast

from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import field, replace

_AGE_STEPS_S = (10.0, 15.0, 20.0, 30.0, 40.0, 45.0, 50.0, 60.0)
"""Ages below a minute are shown in steps of ten seconds; states that depend on an age change at
15 or 45 s."""
_MINUTE_S, _DAY_S, _HOUR_S = 60.0, 86_400.0, 3_600.0


_T = TypeVar("_T")


class AgeTracker(Moment, frozen=True):
    """A moment that records for how long the text of every age computed from it stays the same."""

    _steady: list[float] = field(default_factory=lambda: [inf])

    @classmethod
    def from_moment(cls, moment: Moment) -> AgeTracker:
        """Return a tracker for `moment` from which no age was computed yet."""
        return cls(moment.at, moment.tick, moment.boot)

    @property
    def valid_for_s(self) -> float:
        """Return the seconds for which the text of every computed age stays the same."""
        return self._steady[0]

    def since(self, earlier: Moment) -> float:
        age = Moment.since(self, earlier)
        self._steady[0] = min(self._steady[0], _seconds_until_age_changes(age))
        return age

    def until(self, later: Moment) -> float:
        remaining_s = Moment.until(self, later)
        change_s = (
            _seconds_until_countdown_changes(remaining_s)
            if remaining_s >= 0
            else _seconds_until_age_changes(-remaining_s)
        )
        self._steady[0] = min(self._steady[0], change_s)
        return remaining_s


def _seconds_until_age_changes(age_s: float) -> float:
    """Return the seconds until the text of an age changes."""
    if age_s < _MINUTE_S:
        return _AGE_STEPS_S[bisect_right(_AGE_STEPS_S, age_s)] - age_s
    step = _MINUTE_S if age_s < _DAY_S else _HOUR_S
    return step - age_s % step


def _seconds_until_countdown_changes(left_s: float) -> float:
    """Return the seconds until the text of a remaining time changes."""
    if left_s < _MINUTE_S:
        return left_s - max((mark for mark in (0.0, *_AGE_STEPS_S) if mark <= left_s), default=0.0)
    return left_s % (_MINUTE_S if left_s < _DAY_S else _HOUR_S)


class RenderState:
    """The source that a widget was last drawn from, and the time for which the drawing is valid."""

    def __init__(self) -> None:
        self._source: object = None
        self._drawn_at = Moment(0.0)
        self._valid_for_s = 0.0

    def is_current(self, source: object, now: Moment) -> bool:
        """Return True if drawing `source` at `now` would give the same result as the last drawing.

        The `==` of the last source, an AccessRecorder or a plain value, decides what counts.
        """
        return self._source == source and self.has_current_ages(now)

    def has_current_ages(self, now: Moment) -> bool:
        """Return True if the text of every age in the drawing is still the same."""
        return 0.0 <= self.elapsed_s(now) < self._valid_for_s

    def mark_drawn(self, source: object, now: AgeTracker) -> None:
        """Record a new drawing of `source`, whose ages were all computed from `now`."""
        self._source, self._drawn_at, self._valid_for_s = source, now, now.valid_for_s

    def remaining_s(self, now: Moment) -> float:
        """Return the seconds for which the drawing stays valid if the source does not change."""
        return self._valid_for_s - self.elapsed_s(now)

    def elapsed_s(self, now: Moment) -> float:
        """Return the seconds since the drawing; negative if `now` is earlier or of another boot."""
        return now.tick - self._drawn_at.tick if now.boot == self._drawn_at.boot else -1.0


class AccessRecorder(Generic[_T]):
    """A proxy of a record that records which attributes were read, with their values.

    It compares equal to a proxy whose record has the same values of these attributes.
    """

    def __init__(self, record: _T) -> None:
        self._record = record
        self._accessed: dict[str, object] = {}

    def with_moment(self, now: Moment) -> _T:
        """Return the proxy, with `now` as its attribute `moment`; this one is not compared."""
        self.moment = now
        return cast(_T, self)

    def __getattr__(self, name: str) -> Any:
        """Return the record's attribute and record the access.

        A method is bound to the proxy, so that its accesses are recorded too.
        """
        value = getattr(self._record, name)
        if hasattr(value, "__func__"):
            return value.__func__.__get__(self)
        self._accessed[name] = value
        return value

    def __eq__(self, other: object) -> bool:
        """Return True if the other record has the values that were read from this one."""
        if not isinstance(other, AccessRecorder):
            return NotImplemented
        record = other._record
        return record is self._record or all(
            getattr(record, name) == value for name, value in self._accessed.items()
        )

    __hash__ = None  # type: ignore[assignment]


def is_same_content(snapshot: Snapshot, other: Snapshot) -> bool:
    """Return True if two snapshots differ at most in their moment and the daemon's heartbeat."""
    # Only the verdict depends on the daemon's heartbeat.
    daemon = replace(snapshot.daemon, heartbeat=other.daemon.heartbeat)
    return replace(snapshot, moment=other.moment, daemon=daemon) == other
