"""Whether a directory's file system takes what is written to it."""

from __future__ import annotations

import os
from pathlib import Path

NO_INODES = "no inodes are left: no file can be made"
LEAST_BYTES = 128 * 1024
"""With less than this the store cannot grow by what one commit may need."""


def refusal(directory: Path) -> str | None:
    """Why nothing can be written there, as far as that can be told without trying; or None."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return "the file system is read-only"
    if disk.f_files and not (disk.f_ffree if os.geteuid() == 0 else disk.f_favail):
        return NO_INODES
    free = (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) * disk.f_frsize
    return "the disk is full" if free < LEAST_BYTES else None
