"""What a restart is, for every count of them: a start that follows a death or an end of its role.

Whoever started it. A worker that somebody else started beside us is adopted, not restarted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from console.core.model import Event, EventKind

GONE = (EventKind.DIED, EventKind.ENDED)


def after(gone: bool, event: Event) -> tuple[bool, bool]:
    """(whether one of the role has gone unreplaced, whether this event is a restart)."""
    if event.kind in GONE:
        return True, False
    if event.kind is EventKind.STARTED:
        return False, gone
    return gone, False


def restarts(events: Iterable[Event]) -> Iterator[Event]:
    """The restarts among the events of any roles, oldest first."""
    gone: dict[str, bool] = {}
    for event in events:
        gone[event.role], restarted = after(gone.get(event.role, False), event)
        if restarted:
            yield event
