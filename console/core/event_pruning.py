"""Which old lines of the ledger may go: those without which every fold of it says the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core import alerts
from console.core.model import Event, EventKind, Moment, Role
from console.core.supervision.role_history import POLICY, Memory, remember

_LAST = (
    (EventKind.VERDICT_CHANGED,),
    (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED),
    (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED),
)
"""Of each of these groups the newest line is asked for, however old it is."""
_CHARGE = (EventKind.ASKED, EventKind.CONFIRMED, EventKind.RELEASED)
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
        ledger = [event for event in old if event.role == name]
        memory = remember(ledger, role)
        needed = [memory.asked, memory.parked, memory.started, memory.died, memory.stalled]
        needed += {one.kind: one for one in ledger if one.kind in _CHARGE and _asked(one)}.values()
        few = [event for event in ledger if event in needed]
        # Some ledgers are odder than this foresees: those are kept as they are.
        yield from few if _state(remember(few, role)) == _state(memory) else ledger


def _state(memory: Memory) -> tuple[object, ...]:
    """What of a memory old lines still decide; counts are of a few minutes, or of the ledger."""
    past = memory.started, memory.died, memory.stalled
    return memory.known, memory.wanted, memory.asked, memory.parked, *past


def _asked(event: Event) -> bool:
    """Changes what is wanted of a role: policy does as it is told, it asks for nothing."""
    return event.kind is EventKind.ASKED or event.actor != POLICY


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
