"""Finds the systemd unit or the parent that started a process rpa-console did not start."""

from __future__ import annotations

import re

from console.core.model.processes import Process
from console.core.text.formatting import sanitize_text
from console.system.processes.procfs import read_proc_file

_UNIT_PATTERN = re.compile(r"/([^/\n]+\.service)(?:/|\n|$)")
_MAX_TEXT_CHARS = 160


def describe_launcher(process: Process) -> str | None:
    """Return the process's origin, such as `unit bot.service` or `PID 12 (sh loop.sh)`.

    Return None if neither the unit nor the parent can be determined.
    """
    unit = _read_unit(process.pid)
    if unit is not None:
        return f"unit {unit}"
    if process.ppid <= 1:
        return None
    try:
        words = (
            read_proc_file(f"/proc/{process.ppid}/cmdline").rstrip(b"\0").decode("utf-8", "replace")
        )
    except OSError:
        return None
    return f"PID {process.ppid} ({sanitize_text(words.replace(chr(0), ' '), _MAX_TEXT_CHARS)})"


def _read_unit(pid: int) -> str | None:
    """Return the service of the process's control group, or None.

    A user's service manager (`user@UID.service`) does not count.
    """
    try:
        names = _UNIT_PATTERN.findall(
            read_proc_file(f"/proc/{pid}/cgroup").decode("utf-8", "replace")
        )
    except OSError:
        return None
    units = [sanitize_text(name, _MAX_TEXT_CHARS) for name in names if not name.startswith("user@")]
    return units[-1] if units else None
