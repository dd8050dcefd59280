"""Which old lines of the ledger may go: those without which every fold of it says the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core import alerts
from console.core.memory import POLICY, remember
from console.core.model import Event, EventKind, Moment, Role

_LAST = (
    (EventKind.VERDICT_CHANGED,),
    (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED),
    (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED),
)
"""Of each of these groups the newest line is asked for, however old it is."""
_BORN = (EventKind.STARTED, EventKind.ADOPTED)
_GONE = (EventKind.DIED, EventKind.ENDED)


def forgettable(old: Sequence[Event], roles: Iterable[Role], now: Moment) -> list[int]:
    """The ids of those among the ledger's oldest lines that nothing needs any more.

    `old` are the ledger's first lines, in order and without a gap. What stays of them adds up to
    what all of them did: each role's memory (wanted, asked, parked, last start and death), the
    alerts that stand, the verdict, and the starts of what may still be running.
    """
    needed = {event.id for event in (*_memories(old, roles), *_standing(old), *_newest(old))}
    needed |= {event.id for event in _living(old, now)}
    return [event.id for event in old if event.id not in needed]


def _memories(old: Sequence[Event], roles: Iterable[Role]) -> Iterator[Event]:
    known = {role.name: role for role in roles}
    for name in {event.role for event in old if event.role}:
        role = known.get(name, Role(name, ""))
        memory = remember((event for event in old if event.role == name), role)
        yield from filter(None, (memory.asked, memory.parked, memory.started, memory.died))
        yield from [event for event in old if event.role == name and _wished(event)][-1:]


def _wished(event: Event) -> bool:
    """Says whether the role is wanted, by being asked for or by having been found to run."""
    confirmed = event.kind is EventKind.CONFIRMED and event.actor != POLICY
    return confirmed or event.kind in (*_BORN, EventKind.ASKED)


def _standing(old: Sequence[Event]) -> Iterator[Event]:
    """The line that raised each alert that stands, and whatever was said of it since."""
    stand = {alert.key: alert.event for alert in alerts.standing(old)}
    for event in old:
        raised = stand.get(str(event.data.get("key", "")))
        if raised is not None and event.id >= raised and event.kind in alerts.KINDS:
            yield event


def _newest(old: Sequence[Event]) -> Iterator[Event]:
    for kinds in _LAST:
        yield from [event for event in old if event.kind in kinds][-1:]


def _living(old: Sequence[Event], now: Moment) -> Iterator[Event]:
    """The starts of this boot that no death has followed."""
    gone = {event.identity for event in old if event.kind in _GONE}
    for event in old:
        born = event.kind in _BORN and event.identity not in gone
        if born and event.identity is not None and event.identity.boot == now.boot:
            yield event
