"""Finds the old events that can be deleted without changing any fold of the event log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core import alerts
from console.core.model.events import END_KINDS, START_KINDS, Event, EventKind
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.supervision.role_history import POLICY_ACTOR, RoleHistory, fold_events

_NEWEST_KEPT_GROUPS = (
    (EventKind.VERDICT_CHANGED,),
    (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED),
    (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED),
)
"""The newest event of each of these groups is kept, however old it is."""
_REQUEST_KINDS = (EventKind.ASKED, EventKind.CONFIRMED, EventKind.RELEASED)


def find_prunable_event_ids(
    oldest_events: Sequence[Event], roles: Iterable[Role], now: Moment
) -> list[int]:
    """Return the ids of those of the oldest events that are no longer needed.

    `oldest_events` are the first events of the log, in order and without a gap. The kept ones fold
    to the same result as all of them: the history of each role (wanted, request, parked, last start
    and death), the open alerts, the verdict, and the starts of instances that may still run.
    """
    needed = {
        event.id
        for event in (
            *_role_history_events(oldest_events, roles),
            *_open_alert_events(oldest_events),
            *_newest_group_events(oldest_events),
        )
    }
    needed |= {event.id for event in _living_start_events(oldest_events, now)}
    return [event.id for event in oldest_events if event.id not in needed]


def _role_history_events(oldest_events: Sequence[Event], roles: Iterable[Role]) -> Iterator[Event]:
    roles_by_name = {role.name: role for role in roles}
    for name in {event.role for event in oldest_events if event.role}:
        role = roles_by_name.get(name, Role(name, ""))
        role_events = [event for event in oldest_events if event.role == name]
        history = fold_events(role_events, role)
        needed = [
            history.pending_request,
            history.parked,
            history.last_start,
            history.last_death,
            history.stall_event,
        ]
        needed += {
            request.kind: request
            for request in role_events
            if request.kind in _REQUEST_KINDS and _is_request(request)
        }.values()
        kept = [event for event in role_events if event in needed]
        # An unforeseen sequence of events is kept whole.
        yield from (
            kept
            if _lasting_state(fold_events(kept, role)) == _lasting_state(history)
            else role_events
        )


def _lasting_state(role_history: RoleHistory) -> tuple[object, ...]:
    """Return the fields that old events still determine.

    The other fields are counts: of a few minutes, or of the whole log.
    """
    last_events = role_history.last_start, role_history.last_death, role_history.stall_event
    return (
        role_history.has_history,
        role_history.wanted,
        role_history.pending_request,
        role_history.parked,
        *last_events,
    )


def _is_request(event: Event) -> bool:
    """Return True if `event`, one of `_REQUEST_KINDS`, changes the wanted state of the role.

    Policy makes no requests of its own, so its events do not, except for ASKED.
    """
    return event.kind is EventKind.ASKED or event.actor != POLICY_ACTOR


def _open_alert_events(oldest_events: Sequence[Event]) -> Iterator[Event]:
    """Yield the event that raised each open alert, and the later events about that alert."""
    raised_ids = {alert.key: alert.event_id for alert in alerts.fold_open_alerts(oldest_events)}
    for event in oldest_events:
        raised_id = raised_ids.get(str(event.data.get("key", "")))
        if raised_id is not None and event.id >= raised_id and event.kind in alerts.ALERT_KINDS:
            yield event


def _newest_group_events(oldest_events: Sequence[Event]) -> Iterator[Event]:
    for kinds in _NEWEST_KEPT_GROUPS:
        yield from [event for event in oldest_events if event.kind in kinds][-1:]


def _living_start_events(oldest_events: Sequence[Event], now: Moment) -> Iterator[Event]:
    """Yield the starts of this boot without a recorded death or end."""
    ended_identities = {event.identity for event in oldest_events if event.kind in END_KINDS}
    for event in oldest_events:
        is_living_start = event.kind in START_KINDS and event.identity not in ended_identities
        if is_living_start and event.identity is not None and event.identity.boot == now.boot:
            yield event
