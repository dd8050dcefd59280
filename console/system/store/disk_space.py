"""Checks whether a directory's file system accepts writes."""

from __future__ import annotations

import os
from pathlib import Path

NO_INODES = "no inodes are left: no file can be made"
MIN_FREE_BYTES = 128 * 1024
"""With less free space, the store may not be able to grow for one commit."""


def write_refusal(directory: Path) -> str | None:
    """Return the reason why nothing can be written there; None if unknown without a write."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return "the file system is read-only"
    if disk.f_files and not (disk.f_ffree if os.geteuid() == 0 else disk.f_favail):
        return NO_INODES
    free = (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail) * disk.f_frsize
    return "the disk is full" if free < MIN_FREE_BYTES else None
