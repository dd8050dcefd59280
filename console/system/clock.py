"""The clock, read in one place, so that a whole night can pass in seconds on another one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from console.core.model import Moment

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """The machine's clocks, in seconds."""

    def wall(self) -> float:
        """Since the Unix epoch: anybody may set it."""
        return time.time()

    def tick(self) -> float:
        """Since boot, on a clock nobody can set; suspend counts where the kernel can tell."""
        return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()

    def awake(self) -> float:
        """The same without suspend: what an event loop waits by."""
        return time.monotonic()

    def boot(self) -> str:
        """Names this boot, so that ticks and PIDs of another one are never mistaken for ours."""
        return _boot_id()


_clocks = [Clock()]
"""The last one is read."""


@cache
def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError as error:
        import psutil

        try:
            return f"boot-{psutil.boot_time():.0f}"
        except OSError:
            words = "cannot be read, so processes cannot be told apart (is /proc mounted with"
            raise OSError(error.errno, f"{words} subset=pid?)", str(BOOT_ID)) from None


def boot_id() -> str:
    """Names this boot."""
    return _clocks[-1].boot()


def tick() -> float:
    """Seconds since boot on a clock nobody can set, suspend included."""
    return _clocks[-1].tick()


def awake() -> float:
    """Seconds on a clock nobody can set, suspend left out: for how long something was waited."""
    return _clocks[-1].awake()


def slept() -> float:
    """Seconds that the machine has slept since its boot, as far as the kernel can tell."""
    return round(tick() - awake(), 1)


def now() -> Moment:
    """This moment, on both clocks."""
    clock = _clocks[-1]
    return Moment(clock.wall(), clock.tick(), clock.boot())


@contextmanager
def driven_by(clock: Clock) -> Iterator[None]:
    """Read another clock until the block ends, in the whole process."""
    _clocks.append(clock)
    try:
        yield
    finally:
        _clocks.remove(clock)
