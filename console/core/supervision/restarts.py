"""Defines a restart, for every count of restarts: a start after a death or an end of its role.

The actor of the start does not matter. A worker that another program started is adopted, not
restarted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from console.core.model.events import END_KINDS, Event, EventKind


def classify_event(ended_since_start: bool, event: Event) -> tuple[bool, bool]:
    """Return (True if an instance is gone and not replaced, True if this event is a restart).

    `ended_since_start` is the first value as returned for the role's previous event.
    """
    if event.kind in END_KINDS:
        return True, False
    if event.kind is EventKind.STARTED:
        return False, ended_since_start
    return ended_since_start, False


def iter_restarts(events: Iterable[Event]) -> Iterator[Event]:
    """Yield the restarts among the events of any roles, oldest first."""
    ended_since_start: dict[str, bool] = {}
    for event in events:
        ended_since_start[event.role], is_restart = classify_event(
            ended_since_start.get(event.role, False), event
        )
        if is_restart:
            yield event
