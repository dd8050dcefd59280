"""What a role's ledger adds up to: what is wanted, what was asked, how often it has died."""

from __future__ import annotations

from collections.abc import Iterable

from console.core import restarts
from console.core.frozen import frozen, replace
from console.core.model import Event, EventKind, Identity, Moment, Role, Verb

POLICY, OUTSIDE = "policy", "outside"


@frozen
class Memory:
    """What a role's ledger adds up to."""

    wanted: bool = False
    """It has run, and no person has ended it since: if it is gone, that was not asked for."""
    asked: Event | None = None
    """The last kill or restart that was asked for and is not yet answered by a start."""
    parked: Event | None = None
    restarts: tuple[Moment, ...] = ()
    """Automatic attempts to start, since a person last took charge."""
    streak: int = 0
    """Deaths in a row without a healthy run between them."""
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
        memory = _after(memory, event, role)
    return memory


def _after(memory: Memory, event: Event, role: Role) -> Memory:
    match event.kind:
        case EventKind.STARTED:
            return _after_start(memory, event)
        case EventKind.ADOPTED:
            return replace(memory, wanted=True, asked=None, started=event)
        case EventKind.CONFIRMED | EventKind.RELEASED if event.actor != POLICY:
            wanted = memory.wanted or event.kind is EventKind.CONFIRMED
            known = memory.wanted, memory.parked, memory.restarts, memory.streak, memory.asked
            if known == (wanted, None, (), 0, None):
                return memory  # as after most: somebody has it ensured every minute
            return replace(memory, wanted=wanted, parked=None, restarts=(), streak=0, asked=None)
        case EventKind.ASKED:
            return replace(memory, asked=event, wanted=event.data.get("verb") != Verb.KILL)
        case EventKind.FAILED if event.data.get("verb") == Verb.ENSURE and event.actor == POLICY:
            return replace(_count_death(_count_try(memory, event), event), died=event)
        case EventKind.DIED:
            return _after_death(memory, event, role)
        case EventKind.PARKED:
            return replace(memory, parked=event)
        case EventKind.STALLED | EventKind.READY:
            return replace(memory, stalled=event if event.kind is EventKind.STALLED else None)
        case _:
            return memory


def _after_start(memory: Memory, event: Event) -> Memory:
    memory = replace(memory, started=event)
    if memory.asked is not None and memory.asked.identity == event.identity:
        return memory  # told late: what was asked of it since stands
    memory = replace(memory, wanted=True, asked=None)
    if event.actor == POLICY:
        return _count_try(memory, event)
    return replace(memory, parked=None, restarts=(), streak=0)


def _after_death(memory: Memory, event: Event, role: Role) -> Memory:
    memory = replace(memory, died=event)
    if deliberate(event, memory.asked):
        return memory
    ran = float(event.data.get("uptime_s") or 0.0)
    if ran >= role.policy.unpark_s:
        memory = replace(memory, restarts=(), parked=None)
    return _count_death(memory, event, ran >= role.policy.healthy_s)


def _count_try(memory: Memory, event: Event) -> Memory:
    """One more automatic attempt, unless this one is counted."""
    if event.identity is not None and event.identity == memory.tried:
        return memory
    return replace(memory, restarts=(*memory.restarts, event.moment), tried=event.identity)


def _count_death(memory: Memory, event: Event, healthy: bool = False) -> Memory:
    """One more death in a row, unless it is counted; after a healthy run it is the first."""
    if event.identity is not None and event.identity == memory.mourned:
        return memory
    streak = 1 if healthy else memory.streak + 1
    return replace(memory, streak=streak, mourned=event.identity)


def deliberate(death: Event, asked: Event | None) -> bool:
    """Whether this death is the answer to what somebody asked for."""
    return asked is not None and asked.identity == death.identity
