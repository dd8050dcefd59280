"""Where a process that others started writes: its standard output and error, if they are files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from console.core.model import Identity
from console.system.processes import procfs

_DESCRIPTORS = {"out": 1, "err": 2}
_KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a terminal or device",
    stat.S_IFBLK: "a device", stat.S_IFDIR: "a directory",
}  # fmt: skip


class NoOutput(Exception):
    """There is no file to read, and why."""


def written_by(identity: Identity, stream: str) -> tuple[Path, str]:
    """The file behind a stream (`out`, `err`), and its name for people. Raises NoOutput.

    The path leads through `/proc`, to the very file that the process has open, whatever has become
    of its name.
    """
    number = _DESCRIPTORS[stream]
    place = Path(f"/proc/{identity.pid}/fd/{number}")
    name = "standard error" if stream == "err" else "standard output"
    whose = f"PID {identity.pid}, which others started"
    try:
        target = os.readlink(place)
        mode = os.stat(place).st_mode if not target.startswith(("pipe:", "socket:")) else None
    except PermissionError:
        raise NoOutput(f"{whose}: no permission to see where it writes") from None
    except OSError:
        raise NoOutput(f"{whose}: its {name} is closed, or it is gone") from None
    if not procfs.alive(identity):
        raise NoOutput(f"{whose}: it is gone")
    if mode is None or not stat.S_ISREG(mode):
        kind = (
            _KINDS.get(stat.S_IFMT(mode), "no file") if mode is not None else target.split(":")[0]
        )
        raise NoOutput(f"{whose}: its {name} is {kind} ({target}), so there is no file to follow")
    return place, target
