"""Points in time, on the wall clock and on a clock that cannot be set."""

from __future__ import annotations

from console.core.records import Record


class Moment(Record, frozen=True):
    """A point in time on two clocks: UTC for display, and one that cannot be set for intervals."""

    at: float
    """Seconds since the Unix epoch, UTC."""
    tick: float = 0.0
    """Seconds since boot, suspend included (`CLOCK_BOOTTIME`)."""
    boot: str = ""
    """The kernel's boot ID. Ticks of different boots cannot be compared."""

    def since(self, earlier: Moment) -> float:
        """Return the seconds from `earlier` to this moment, never negative.

        Within one boot, ticks are compared, so setting the wall clock has no effect. Across boots,
        UTC is compared. If `earlier` is of another boot and later by UTC, the time since boot is
        returned, as it is at least that old.
        """
        if self.boot and self.boot == earlier.boot:
            return max(0.0, self.tick - earlier.tick)
        if self.boot and earlier.boot and earlier.at > self.at:
            return max(0.0, self.tick)
        return max(0.0, self.at - earlier.at)

    def later_than(self, other: Moment) -> bool:
        """Return True if this moment is after `other`: by ticks within one boot, else by UTC."""
        if self.boot and self.boot == other.boot:
            return self.tick > other.tick
        return self.at > other.at

    def latest(self, other: Moment | None) -> Moment:
        """Return the later one of the two moments."""
        return self if other is None or self.later_than(other) else other

    def unix_time_by(self, clock_moment: Moment) -> float:
        """Return the Unix time of this moment by the wall clock as read at `clock_moment`.

        It differs from `at` if the clock was set between the two within one boot.
        """
        if self.boot and self.boot == clock_moment.boot:
            return clock_moment.at + (self.tick - clock_moment.tick)
        return self.at

    def until(self, later: Moment) -> float:
        """Return the seconds from this moment to `later`, negative if `later` is earlier.

        Within one boot, ticks are compared; else UTC.
        """
        if self.boot and self.boot == later.boot:
            return later.tick - self.tick
        return later.at - self.at

    def plus(self, seconds: float) -> Moment:
        """Return this moment moved by `seconds` on both clocks."""
        return Moment(self.at + seconds, self.tick + seconds, self.boot)
