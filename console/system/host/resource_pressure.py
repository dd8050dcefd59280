"""Whether disk or memory is nearly gone, or a directory unsafe: words only when it matters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.frozen import slotted
from console.core.text.formatting import size
from console.system import clock

if TYPE_CHECKING:
    from console.system.files.outside_files import Door

SHORT_S = 0.2
"""How long a directory is waited for: the caller may be an event loop."""
EVERY_S = 60.0
SHARE, ENOUGH_BYTES = 0.05, 1 << 30
"""Pressure is when less than both is left."""
ENOUGH_INODES = 1_000
MEMORY = Path("/proc/meminfo")


@slotted
class Pressure:
    """What was found at the last look, one a minute at most."""

    _looked: float | None = None
    _told: tuple[str, ...] = ()

    def told(self, directory: Path, door: Door | None = None) -> tuple[str, ...]:
        """A line for each thing that is nearly gone; `directory`: whose disk matters.

        And one when other users can reach what is written through `door`.
        """
        now = clock.tick()
        if self._looked is None or not 0 <= now - self._looked < EVERY_S:
            self._looked = now
            unsafe = door.warning(SHORT_S) if door else None
            self._told = tuple(one for one in (disk(directory), memory(), unsafe) if one)
        return self._told


def scarce(left: float, whole: float) -> bool:
    """Whether so little of it is left that something will soon fail for it. Bytes."""
    return left < min(SHARE * whole, ENOUGH_BYTES)


def disk(directory: Path) -> str:
    """Words about the disk of a directory when it is nearly full; else, or if unknown, none."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return ""
    left, whole = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if found.f_files and found.f_favail < min(SHARE * found.f_files, ENOUGH_INODES):
        return f"the disk of {directory} has {found.f_favail} of {found.f_files} inodes left"
    if not whole or not scarce(left, whole):
        return ""
    return f"the disk of {directory} is nearly full: {size(left)} of {size(whole)} left"


def memory(file: Path = MEMORY) -> str:
    """Words about the machine's memory when it is nearly gone; else, or if unknown, none."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
        told = {name: int(rest.split()[0]) * 1024 for name, _, rest in map(_parted, lines)}
        left, whole = told["MemAvailable"], told["MemTotal"]
    except (OSError, ValueError, IndexError, KeyError):
        return ""
    if not scarce(left, whole):
        return ""
    return f"the machine's memory is nearly gone: {size(left)} of {size(whole)} left"


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")
