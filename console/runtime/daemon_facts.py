"""What a daemon says of itself in the store: its version, and what keeps it from its work."""

from __future__ import annotations

from console.core.model import Trouble
from console.core.text.json_values import as_list, table, text

DAEMON = "daemon"
"""Fact of the store: PID and version of the daemon, and its troubles."""


def told(fact: object, pid: int | None) -> tuple[str, tuple[Trouble, ...]]:
    """Version and troubles by the fact of a daemon; nothing of another daemon than `pid`."""
    known = table(fact)
    if pid is None or known.get("pid") != pid:
        return "", ()
    rows = (as_list(row) for row in as_list(known.get("troubles")))
    found = tuple(Trouble(str(row[0]), str(row[1])) for row in rows if len(row) == 2)
    return text(known.get("version"), 60) or "", found
