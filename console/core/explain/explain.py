"""Why, for whoever asks now: the trouble that stands; where none does, how a role last died."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core.explain.death_case import ids, who
from console.core.explain.death_chain import MOST, Step, why
from console.core.model import Event, EventKind, Instance, Moment, Process, Role, Verb
from console.core.supervision import state_machine
from console.core.supervision.state_machine import Memory, Repair
from console.core.text.formatting import duration, visible

GONE = (EventKind.DIED, EventKind.ENDED)
_WORDS = 200
_DEEDS = (EventKind.ASKED, EventKind.FAILED, EventKind.REFUSED, EventKind.PARKED)


def explain(role: Role, events: Iterable[Event], now: Moment) -> tuple[Step, ...]:
    """The chain of what stands wrong with the role now, else of its last death."""
    events = tuple(events)
    ledger = tuple(event for event in events if event.role == role.name)
    memory = state_machine.remember(ledger, role)
    sign = memory.stalled
    if sign is not None and not _over(sign, ledger):
        return tuple(_stall(role, memory, sign, ledger, now))
    chain = why(role, events, now)
    if len(chain) == 1 and memory.parked is not None:
        return tuple(_park(role, memory.parked, now))
    return chain


def _over(sign: Event, ledger: Sequence[Event]) -> bool:
    """Whether the one that did no work has gone since."""
    return any(e.kind in GONE and e.id > sign.id and e.identity == sign.identity for e in ledger)


# --- alive, and does no work ----------------------------------------------------------------


def _stall(
    role: Role, memory: Memory, sign: Event, ledger: Sequence[Event], now: Moment
) -> Iterator[Step]:
    pid = f"PID {sign.identity.pid}" if sign.identity else role.name
    here = sign.moment, ids(sign)
    yield Step("symptom", f"{pid} lives and does no work: {visible(sign.reason, _WORDS)}", *here)
    by = "the daemon" if sign.actor == "daemon" else who(sign.actor)
    yield Step("detector", f"{by}, which watches what becomes of the work", *here)
    yield Step("rule", _rule(role), *here)
    deeds = [e for e in ledger if e.id > sign.id and e.kind in _DEEDS and _about(e, sign)]
    for deed in deeds[-MOST:]:
        yield Step("action", _deed(deed, sign), deed.moment, ids(deed))
    if not deeds:
        yield Step("action", *_pending(role, memory, sign, now))
    words = f"{pid} has done no work for {duration(now.since(sign.moment))} now"
    if role.policy.stalled != "restart" or memory.parked is not None:
        words += ": a person must act; a restart would end it and start another"
    yield Step("outcome", words, now, ids(sign))


def _about(event: Event, sign: Event) -> bool:
    return event.identity is None or event.identity == sign.identity


def _rule(role: Role) -> str:
    policy = role.policy
    if not policy.enabled:
        return "automatic restarts are switched off"
    if policy.stalled != "restart":
        return f'policy: stalled = "{policy.stalled}": it is told, and left to a person'
    limit = f"at most {policy.limit} restarts in {duration(policy.window_s)}"
    return f'policy: stalled = "restart": what does no work is restarted, {limit}'


def _deed(deed: Event, sign: Event) -> str:
    late = f"{duration(deed.moment.since(sign.moment))} later"
    reason = f": {visible(deed.reason, _WORDS)}" if deed.reason else ""
    match deed.kind:
        case EventKind.ASKED:
            verb = "a restart" if deed.data.get("verb") == Verb.RESTART else "its end"
            return f"{who(deed.actor)} asked for {verb}, {late}"
        case EventKind.PARKED:
            return f"parked, {late}: no further automatic start{reason}"
        case EventKind.REFUSED:
            return f"{who(deed.actor)} was refused, {late}{reason}"
        case _:
            return f"{who(deed.actor)} tried and failed, {late}{reason}"


def _pending(role: Role, memory: Memory, sign: Event, now: Moment) -> tuple[str, Moment]:
    """What policy is about to do."""
    alive: tuple[Instance, ...] = ()
    if sign.identity is not None:
        alive = (Instance(role.name, (Process(sign.identity, 1, (), sign.moment),)),)
    decision = state_machine.shake(role, memory, alive, now)
    if decision.repair is Repair.WAIT and decision.at is not None:
        left = duration(decision.at.since(now))
        return f"waits: {decision.reason}, due in {left}", decision.at
    if decision.repair in (Repair.RESTART, Repair.PARK):
        return f"none yet: {decision.reason}", now
    return "none: nobody has restarted it", now


# --- parked, by a ledger whose deaths are forgotten -----------------------------------------


def _park(role: Role, parked: Event, now: Moment) -> Iterator[Step]:
    here, policy = (parked.moment, ids(parked)), role.policy
    yield Step("symptom", f"{role.name} kept dying; how is older than what was read", *here)
    yield Step("detector", f"{who(parked.actor)}, which counts its own starts", *here)
    limit = f"at most {policy.limit} restarts in {duration(policy.window_s)}"
    yield Step("rule", limit, *here)
    yield Step("action", f"parked: {visible(parked.reason, _WORDS)}", *here)
    words = f"parked for {duration(now.since(parked.moment))} now: a person must act"
    yield Step("outcome", words, now, ids(parked))
