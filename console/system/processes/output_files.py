"""Finds the files that an adopted process's standard output and standard error go to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.model.processes import Identity
from console.system.processes import procfs

_STREAM_FDS = {"out": 1, "err": 2}
_FILE_KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a terminal or device",
    stat.S_IFBLK: "a device", stat.S_IFDIR: "a directory",
}  # fmt: skip


class NoOutputFile(ConsoleError):
    """A stream that is not a readable file; the message says why."""


def find_output_file(identity: Identity, stream: str) -> tuple[Path, str]:
    """Return the path to open for a stream (`out` or `err`), and the file's name for display.

    The path goes through `/proc/PID/fd`, so it opens the same file even if that was renamed or
    removed. Raises NoOutputFile.
    """
    fd = _STREAM_FDS[stream]
    path = Path(f"/proc/{identity.pid}/fd/{fd}")
    stream_name = "standard error" if stream == "err" else "standard output"
    subject = f"PID {identity.pid}, which others started"
    try:
        target = os.readlink(path)
        mode = os.stat(path).st_mode if not target.startswith(("pipe:", "socket:")) else None
    except PermissionError:
        raise NoOutputFile(f"{subject}: no permission to see where it writes") from None
    except OSError:
        raise NoOutputFile(f"{subject}: its {stream_name} is closed, or it is gone") from None
    if not procfs.is_alive(identity):
        raise NoOutputFile(f"{subject}: it is gone")
    if mode is None or not stat.S_ISREG(mode):
        kind = (
            _FILE_KINDS.get(stat.S_IFMT(mode), "no file")
            if mode is not None
            else target.split(":")[0]
        )
        raise NoOutputFile(
            f"{subject}: its {stream_name} is {kind} ({target}), so there is no file to follow"
        )
    return path, target
