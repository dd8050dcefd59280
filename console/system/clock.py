"""The clock, read in one place."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from console.core.model import Moment

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


@cache
def boot_id() -> str:
    """Names this boot, so that ticks and PIDs of another one are never mistaken for ours."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        import psutil

        return f"boot-{psutil.boot_time():.0f}"


def tick() -> float:
    """Seconds since boot on a clock nobody can set; suspend counts where the kernel can tell."""
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()


def now() -> Moment:
    """This moment, on both clocks."""
    return Moment(time.time(), tick(), boot_id())
