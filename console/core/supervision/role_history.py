"""What a role's ledger adds up to: what is wanted, what was asked, how often it has died."""

from __future__ import annotations

from collections.abc import Iterable

from console.core.frozen import frozen, replace
from console.core.model import Event, EventKind, Identity, Moment, Role, Verb
from console.core.supervision import restarts

POLICY, OUTSIDE = "policy", "outside"
EVENT_S = 2.0
"""Deaths of a role's instances within this time, or its back-off, are one event."""
RECENT = 100
"""Automatic starts that are remembered, whatever a person has done since."""
_LIVED = (
    EventKind.STARTED,
    EventKind.ADOPTED,
    EventKind.CONFIRMED,
    EventKind.ASKED,
    EventKind.RELEASED,
    EventKind.DIED,
    EventKind.ENDED,
    EventKind.PARKED,
)


@frozen
class Memory:
    """What a role's ledger adds up to."""

    known: bool = False
    """The ledger tells of an instance, or of what a person wants."""
    wanted: bool = False
    """It has run, and no person has ended it since: if it is gone, that was not asked for."""
    asked: Event | None = None
    """The last kill or restart that was asked for and is not yet answered by a start."""
    parked: Event | None = None
    restarts: tuple[Moment, ...] = ()
    """Automatic attempts to start, since a person last took charge. One for each event."""
    automatic: tuple[Moment, ...] = ()
    """The same, whatever a person has done since."""
    streak: int = 0
    """Events of death in a row without a healthy run between them."""
    event: Moment | None = None
    """When the last event of death began. Instances that live then and die soon are part of it."""
    answered: bool = False
    """An automatic start has been counted for that event."""
    restarted: int = 0
    """Restarts by whomever, as far as the ledger goes back."""
    gone: bool = False
    """One has gone since the last start."""
    started: Event | None = None
    died: Event | None = None
    stalled: Event | None = None
    """It was found to do no work, and has not been seen to work since."""
    tried: Identity | None = None
    mourned: Identity | None = None
    """Counted already: a start that fails at once is told of by guard and shim, in any order."""


_BLANK = Memory()


def remember(events: Iterable[Event], role: Role, memory: Memory = _BLANK) -> Memory:
    """Fold a role's ledger, oldest event first; on from what earlier events have added up to."""
    for event in events:
        gone, again = restarts.after(memory.gone, event)
        if gone is not memory.gone:
            memory = replace(memory, gone=gone, restarted=memory.restarted + again)
        if not memory.known and event.kind in _LIVED:
            memory = replace(memory, known=True)
        memory = _after(memory, event, role)
    return memory


def _after(memory: Memory, event: Event, role: Role) -> Memory:
    match event.kind:
        case EventKind.STARTED:
            return _after_start(memory, event, role)
        case EventKind.ADOPTED:
            if _killed(memory):  # what a person has ended is not wanted for being seen again
                return replace(memory, started=event)
            return replace(memory, wanted=True, asked=None, started=event)
        case EventKind.CONFIRMED | EventKind.RELEASED if event.actor != POLICY:
            wanted = memory.wanted or event.kind is EventKind.CONFIRMED
            known = memory.wanted, memory.parked, memory.restarts, memory.streak, memory.asked
            if known == (wanted, None, (), 0, None):
                return memory  # as after most: somebody has it ensured every minute
            memory = replace(memory, wanted=wanted, asked=None)
            return _take_charge(memory)
        case EventKind.ASKED:
            wanted = event.data.get("verb") != Verb.KILL
            return replace(memory, asked=event, wanted=wanted, answered=False)
        case EventKind.FAILED if event.data.get("verb") == Verb.ENSURE and event.actor == POLICY:
            wanted = memory.wanted or not memory.known
            memory = replace(memory, wanted=wanted, answered=False)
            return replace(_count_death(_count_try(memory, event, role), event, role), died=event)
        case EventKind.DIED:
            return _after_death(memory, event, role)
        case EventKind.PARKED:
            return replace(memory, parked=event)
        case EventKind.STALLED | EventKind.READY:
            return replace(memory, stalled=event if event.kind is EventKind.STALLED else None)
        case _:
            return memory


def _killed(memory: Memory) -> bool:
    return memory.asked is not None and memory.asked.data.get("verb") == Verb.KILL


def _after_start(memory: Memory, event: Event, role: Role) -> Memory:
    first = memory.started is None and memory.died is None
    memory = replace(memory, started=event)
    if memory.asked is not None and memory.asked.identity == event.identity:
        return memory  # told late: what was asked of it since stands
    memory = replace(memory, wanted=True, asked=None)
    if event.actor != POLICY:
        return _take_charge(memory)
    return memory if first else _count_try(memory, event, role)


def _take_charge(memory: Memory) -> Memory:
    """A person starts it, or finds it running: policy begins anew."""
    return replace(memory, parked=None, restarts=(), streak=0, event=None, answered=False)


def _after_death(memory: Memory, event: Event, role: Role) -> Memory:
    memory = replace(memory, died=event)
    if deliberate(event, memory.asked):
        return memory
    if _ran(event) >= role.policy.unpark_s:
        memory = replace(memory, restarts=(), parked=None)
    return _count_death(memory, event, role)


def _ran(death: Event) -> float:
    return float(death.data.get("uptime_s") or 0.0)


def _count_try(memory: Memory, event: Event, role: Role) -> Memory:
    """One more automatic attempt, unless this one is counted, or another one for this event."""
    if event.identity is not None and event.identity == memory.tried:
        return memory
    memory = replace(memory, tried=event.identity)
    if memory.answered and role.count > 1:
        return memory
    return replace(
        memory,
        restarts=(*memory.restarts, event.moment),
        automatic=(*memory.automatic[-RECENT:], event.moment),
        answered=True,
    )


def _count_death(memory: Memory, event: Event, role: Role) -> Memory:
    """One more event in a row, unless it is counted; after a healthy run it is the first."""
    if event.identity is not None and event.identity == memory.mourned:
        return memory
    memory = replace(memory, mourned=event.identity)
    if _same_event(memory, event, role):
        return memory
    healthy = event.kind is EventKind.DIED and _ran(event) >= role.policy.healthy_s
    streak = 1 if healthy else memory.streak + 1
    return replace(memory, streak=streak, event=event.moment, answered=False)


def _same_event(memory: Memory, death: Event, role: Role) -> bool:
    """Whether what died now lived already when another instance died, a moment ago."""
    if memory.event is None or death.kind is not EventKind.DIED or role.count < 2:
        return False
    late = death.moment.since(memory.event)
    return late <= max(EVENT_S, role.policy.backoff_s) and _ran(death) > late


def deliberate(death: Event, asked: Event | None) -> bool:
    """Whether this death is the answer to what somebody asked for."""
    return asked is not None and asked.identity == death.identity
