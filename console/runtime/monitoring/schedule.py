"""When a monitor looks next: when it is due, or with others that are due shortly after.

Looks that are taken together cost one commit, and one frame on every screen.
"""

from __future__ import annotations

from console.runtime.snapshots.store_view import View
from console.runtime.timers import EARLY_S

PATIENCE, PATIENCE_S = 0.2, 2.0
"""So much of its interval, and no longer, a monitor that is due waits for others soon to be due."""
EARLY = 0.05
"""This much of its interval too early it is due: two clocks never agree to the last digit."""


def left_s(view: View, name: str) -> float:
    """Seconds until a monitor looks; 0: now."""
    due_s, every_s = _due_s(view, name), view.monitors[name].every(view.box.settings)
    if due_s is None:
        return 0.0
    latest = due_s + min(PATIENCE * every_s, PATIENCE_S)
    others = (_due_s(view, one) for one in view.monitors if not view.off(one))
    left = max([due_s, *(one for one in others if one is not None and due_s < one <= latest)])
    return left if left > min(EARLY_S, EARLY * every_s) else 0.0


def _due_s(view: View, name: str) -> float | None:
    """Seconds until the interval since a monitor's last look is over; None before the first.

    So it counts across restarts of whoever runs the monitor.
    """
    last = view.last(name)
    every_s = view.monitors[name].every(view.box.settings)
    return every_s - view.box.now().since(last.moment) if last else None
