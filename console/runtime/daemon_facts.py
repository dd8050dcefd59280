"""Parses the fact that a daemon stores about itself: its version and its troubles."""

from __future__ import annotations

from console.core.model.views import Trouble
from console.core.text.json_values import as_list, as_object, as_text

DAEMON_FACT = "daemon"
"""Fact of the store: PID and version of the daemon, and its troubles."""


def parse_daemon_fact(fact: object, pid: int | None) -> tuple[str, tuple[Trouble, ...]]:
    """Return version and troubles from the fact of the daemon with this PID.

    Returns ("", ()) if the fact is of another daemon or `pid` is None.
    """
    values = as_object(fact)
    if pid is None or values.get("pid") != pid:
        return "", ()
    rows = (as_list(row) for row in as_list(values.get("troubles")))
    troubles = tuple(Trouble(str(row[0]), str(row[1])) for row in rows if len(row) == 2)
    return as_text(values.get("version"), 60) or "", troubles
