"""Decides when a new snapshot is drawn: urgent changes at once, others at most once a second."""

from __future__ import annotations

from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment

MIN_REDRAW_INTERVAL_S = 1.05
"""Minimum time between two frames that the operator did not cause. At most one of them a second
arrives over a slow link, even if the first took a little longer to arrive than the second."""
AGE_REDRAW_DELAY_S = 3.0
"""Delay of the redraw after an age on the screen has changed. Ages are shown in steps of ten
seconds, and usually a frame with a new snapshot comes first and shows all ages."""


def urgent_state(snapshot: Snapshot) -> object:
    """Return the part of a snapshot whose changes are drawn at once.

    It is the verdict, the state and instances of each role, and whether the monitors run.
    """
    roles = {
        view.role.name: (view.state, frozenset(instance.identity for instance in view.instances))
        for view in snapshot.roles
    }
    return snapshot.verdict, roles, snapshot.daemon.running or snapshot.daemon.in_this_process


def throttle_delay_s(drawn_at: Moment, now: Moment) -> float:
    """Return the seconds until a change that is not urgent may be drawn after the last frame."""
    return max(0.0, MIN_REDRAW_INTERVAL_S - now.since(drawn_at))
