"""Computes when a monitor is probed: when it is due, or with others that are due shortly after.

Samples taken together cost one commit, and one frame on every screen.
"""

from __future__ import annotations

from console.runtime.snapshots.store_view import StoreView
from console.runtime.timers import EARLY_TOLERANCE_S

COALESCE_FRACTION, MAX_COALESCE_S = 0.2, 2.0
"""A due monitor waits for others that are due soon, for this fraction of its interval and at most
this many seconds."""
EARLY_FRACTION = 0.05
"""A monitor is due this fraction of its interval early, as two clocks never agree exactly."""


def seconds_until_due(view: StoreView, name: str) -> float:
    """Return the seconds until a monitor is to be probed; 0: now."""
    due_s, every_s = _interval_remaining_s(view, name), view.monitors[name].every(view.box.settings)
    if due_s is None:
        return 0.0
    latest = due_s + min(COALESCE_FRACTION * every_s, MAX_COALESCE_S)
    others = (
        _interval_remaining_s(view, other)
        for other in view.monitors
        if not view.disabled_reason(other)
    )
    remaining_s = max(
        [
            due_s,
            *(other_s for other_s in others if other_s is not None and due_s < other_s <= latest),
        ]
    )
    return remaining_s if remaining_s > min(EARLY_TOLERANCE_S, EARLY_FRACTION * every_s) else 0.0


def _interval_remaining_s(view: StoreView, name: str) -> float | None:
    """Return the seconds until the interval since a monitor's last sample has passed.

    None before the first sample. The interval continues across restarts of the process that runs
    the monitor.
    """
    last = view.last_sample(name)
    every_s = view.monitors[name].every(view.box.settings)
    return every_s - view.box.now().since(last.moment) if last else None
