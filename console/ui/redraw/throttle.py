"""When news is drawn: what somebody waits for at once, the rest at most once a second."""

from __future__ import annotations

from console.core.model import Moment, Snapshot

SHORTEST_S = 1.05
"""From a frame to the next that nobody has asked for: at most one a second is sent over a slow
link, also when the first of them took a little longer than the next to get there."""
AGES_S = 3.0
"""So much longer an age may read the same: it is told in tens, and as a rule a frame of news comes
first, which tells all of them."""


def weighty(snapshot: Snapshot) -> object:
    """What nobody is to wait for: the verdict, how each role stands, who lives and who watches."""
    roles = {
        view.role.name: (view.state, frozenset(one.identity for one in view.instances))
        for view in snapshot.roles
    }
    return snapshot.verdict, roles, snapshot.daemon.running or snapshot.daemon.here


def rest_s(drawn: Moment, now: Moment) -> float:
    """Seconds that other news still has to wait, after a frame that was drawn at a moment."""
    return max(0.0, SHORTEST_S - now.since(drawn))
