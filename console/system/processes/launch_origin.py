"""What has started a process that rpa-console did not start: its unit, or its parent."""

from __future__ import annotations

import re

from console.core.model import Process
from console.core.text.formatting import visible
from console.system.processes.procfs import read

_UNIT = re.compile(r"/([^/\n]+\.service)(?:/|\n|$)")
_WORDS = 160


def launcher(process: Process) -> str | None:
    """`unit bot.service` or `PID 12 (sh loop.sh)`; None when neither can be told."""
    unit = _unit(process.pid)
    if unit is not None:
        return f"unit {unit}"
    if process.ppid <= 1:
        return None
    try:
        words = read(f"/proc/{process.ppid}/cmdline").rstrip(b"\0").decode("utf-8", "replace")
    except OSError:
        return None
    return f"PID {process.ppid} ({visible(words.replace(chr(0), ' '), _WORDS)})"


def _unit(pid: int) -> str | None:
    """The service that a process belongs to; a user's own manager is none."""
    try:
        found = _UNIT.findall(read(f"/proc/{pid}/cgroup").decode("utf-8", "replace"))
    except OSError:
        return None
    units = [visible(one, _WORDS) for one in found if not one.startswith("user@")]
    return units[-1] if units else None
