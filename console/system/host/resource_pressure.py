"""Warns if disk or memory is nearly used up, or if a directory is unsafe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.records import Component
from console.core.text.formatting import format_size
from console.system import clock

if TYPE_CHECKING:
    from console.system.files.outside_files import OutsideDirectory

DIRECTORY_TIMEOUT_S = 0.2
"""Timeout for reading a directory. It is short, because the caller may be an event loop."""
CHECK_INTERVAL_S = 60.0
MIN_FREE_SHARE, MIN_FREE_BYTES = 0.05, 1 << 30
"""A resource is low if less than both limits is free."""
MIN_FREE_INODES = 1_000
MEMINFO_PATH = Path("/proc/meminfo")


class ResourcePressure(Component):
    """The warnings of the last check. Checks run at most once a minute."""

    _checked_at: float | None = None
    _warnings: tuple[str, ...] = ()

    def read_warnings(
        self, directory: Path, outside_directory: OutsideDirectory | None = None
    ) -> tuple[str, ...]:
        """Return a warning for each resource that is low.

        `directory`: any directory on the disk to check. Another warning is added if other users can
        access the files in `outside_directory`.
        """
        now = clock.tick()
        if self._checked_at is None or not 0 <= now - self._checked_at < CHECK_INTERVAL_S:
            self._checked_at = now
            safety_warning = (
                outside_directory.safety_warning(DIRECTORY_TIMEOUT_S) if outside_directory else None
            )
            self._warnings = tuple(
                warning
                for warning in (disk_warning(directory), memory_warning(), safety_warning)
                if warning
            )
        return self._warnings


def is_low(free: float, total: float) -> bool:
    """Return True if less than both limits is free. Both arguments are in bytes."""
    return free < min(MIN_FREE_SHARE * total, MIN_FREE_BYTES)


def disk_warning(directory: Path) -> str:
    """Return a warning if the disk of a directory is nearly full, otherwise an empty string.

    The string is also empty if the disk cannot be checked.
    """
    try:
        status = os.statvfs(directory)
    except OSError:
        return ""
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if status.f_files and status.f_favail < min(MIN_FREE_SHARE * status.f_files, MIN_FREE_INODES):
        return f"the disk of {directory} has {status.f_favail} of {status.f_files} inodes left"
    if not total or not is_low(free, total):
        return ""
    return (
        f"the disk of {directory} is nearly full: {format_size(free)} of {format_size(total)} left"
    )


def memory_warning(meminfo_path: Path = MEMINFO_PATH) -> str:
    """Return a warning if the machine's memory is nearly used up, otherwise an empty string.

    The string is also empty if the memory cannot be checked.
    """
    try:
        lines = meminfo_path.read_text(encoding="ascii", errors="replace").splitlines()
        bytes_by_name = {
            name: int(rest.split()[0]) * 1024 for name, _, rest in map(_split_line, lines)
        }
        free, total = bytes_by_name["MemAvailable"], bytes_by_name["MemTotal"]
    except (OSError, ValueError, IndexError, KeyError):
        return ""
    if not is_low(free, total):
        return ""
    return f"the machine's memory is nearly gone: {format_size(free)} of {format_size(total)} left"


def _split_line(line: str) -> tuple[str, str, str]:
    return line.partition(":")
