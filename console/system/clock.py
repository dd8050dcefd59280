"""The clocks that every recorded moment comes from; a simulation can replace them.

Timeouts of one call may read `time.monotonic` themselves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from console.core.model.time import Moment

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The machine's clocks, in seconds."""

    def wall_time(self) -> float:
        """Return the seconds since the Unix epoch. This clock can be set."""
        return time.time()

    def tick(self) -> float:
        """Return the seconds since boot, including suspend if the kernel supports it.

        This clock cannot be set.
        """
        return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()

    def monotonic(self) -> float:
        """Return the seconds since boot without suspend, as event loops use them."""
        return time.monotonic()

    def boot_id(self) -> str:
        """Return the id of this boot, which distinguishes ticks and PIDs of different boots."""
        return _read_boot_id()


_clock_stack = [Clock()]
"""The last clock is in use."""


@cache
def _read_boot_id() -> str:
    try:
        return BOOT_ID_FILE.read_text(encoding="utf-8").strip()
    except OSError as error:
        import psutil

        try:
            return f"boot-{psutil.boot_time():.0f}"
        except OSError:
            reason = "cannot be read, so processes cannot be told apart (is /proc mounted with"
            raise OSError(error.errno, f"{reason} subset=pid?)", str(BOOT_ID_FILE)) from None


def boot_id() -> str:
    """Return the id of this boot. Raises OSError."""
    return _clock_stack[-1].boot_id()


def tick() -> float:
    """Return the seconds since boot, including suspend, on a clock that cannot be set."""
    return _clock_stack[-1].tick()


def monotonic() -> float:
    """Return seconds without suspend, on a clock that cannot be set: for durations of waits."""
    return _clock_stack[-1].monotonic()


def suspended_s() -> float:
    """Return the seconds of suspend since boot; 0 if the kernel does not report suspend."""
    return round(tick() - monotonic(), 1)


def now() -> Moment:
    """Return the current moment on both clocks."""
    clock = _clock_stack[-1]
    return Moment(clock.wall_time(), clock.tick(), clock.boot_id())


@contextmanager
def override_clock(clock: Clock) -> Iterator[None]:
    """Use another clock until the block ends, in the whole process."""
    _clock_stack.append(clock)
    try:
        yield
    finally:
        _clock_stack.remove(clock)
