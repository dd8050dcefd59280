"""Why a role last died, restarted or stayed down: one chain, read from the ledger.

Symptom -> detector -> rule and threshold -> action -> outcome, each with its time and the lines of
the ledger that say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from console.core.explain.death_case import BORN, Case, ids, last_words, living, uptime, who
from console.core.frozen import frozen
from console.core.model import (
    Event,
    EventKind,
    Lease,
    LeaseState,
    Moment,
    Role,
    Verb,
)
from console.core.supervision import state_machine
from console.core.supervision.state_machine import POLICY, Repair
from console.core.text.formatting import duration, visible
from console.core.text.json_values import number, text

SURPLUS = (Verb.ENSURE, Verb.END_DUPLICATES)
_WORDS = 200
MOST = 8
"""Actions that are told."""


@frozen
class Step:
    """One link of the chain."""

    part: str
    """`symptom`, `detector`, `rule`, `action` or `outcome`."""
    text: str
    moment: Moment | None = None
    events: tuple[int, ...] = ()


def why(role: Role, events: Iterable[Event], now: Moment) -> tuple[Step, ...]:
    """The chain of the last death, or of the last start that failed; else why there is none."""
    events = tuple(events)
    ledger = tuple(event for event in events if event.role == role.name)
    focus = _first_of_row([event for event in ledger if _fatal(event)], ledger, role)
    if focus is None:
        return (_uneventful(role, ledger, now),)
    signs = tuple(e for e in events if e.id < focus.id and _sign(e, role))
    case = Case(role, ledger, focus, now, signs[-1:])
    return (_symptom(case), _detector(case), _rule(case), *_action(case), _outcome(case))


def _fatal(event: Event) -> bool:
    if event.kind is EventKind.DIED:
        return True
    return event.kind is EventKind.FAILED and event.data.get("verb") == Verb.ENSURE


def _first_of_row(fatal: Sequence[Event], ledger: Sequence[Event], role: Role) -> Event | None:
    """The last death; in a row of deaths that nobody asked for, the one that began it."""
    asked = {event.identity for event in ledger if event.kind is EventKind.ASKED}
    focus: Event | None = None
    for event in reversed(fatal):
        if focus is not None:
            long = focus.moment.since(event.moment) > role.policy.window_s
            if long or event.identity in asked:
                return focus
        focus = event
        healthy = (number(event.data.get("uptime_s")) or 0.0) >= role.policy.healthy_s
        if event.identity in asked or (event.kind is EventKind.DIED and healthy):
            return focus
    return focus


def _sign(event: Event, role: Role) -> bool:
    """What shows that a living role does not work."""
    if event.kind is EventKind.STALLED and event.role == role.name:
        return True
    if event.kind is not EventKind.MONITOR_CHANGED or role.name != "worker":
        return False
    return event.data.get("monitor") == "canary" and event.data.get("state") == "failing"


def _uneventful(role: Role, ledger: Sequence[Event], now: Moment) -> Step:
    born = next((event for event in reversed(ledger) if event.kind in BORN), None)
    if born is not None:
        whose = "was adopted" if born.kind is EventKind.ADOPTED else f"was started by {born.actor}"
        if born.actor == POLICY and sum(event.kind in BORN for event in ledger) == 1:
            whose += f" ({state_machine.FIRST})"
        age = duration(now.since(born.moment))
        pid = f"PID {born.identity.pid}" if born.identity else role.name
        words = f"nothing to explain: {pid} {whose} {age} ago and has not died since"
        return Step("outcome", words, born.moment, (born.id,))
    told = ledger[-1] if ledger else None
    words = f"{role.name} has never been started, as far as the ledger goes back"
    if told is not None:
        words += f"; the last word on it: {told.kind.value}: {visible(told.reason, _WORDS)}"
    return Step("outcome", words, told.moment if told else None, (told.id,) if told else ())


# --- the five links -------------------------------------------------------------------------


def _symptom(case: Case) -> Step:
    focus, born = case.focus, case.same(*BORN)
    if case.failed:
        words = f"a start did not succeed: {visible(case.failed.reason, _WORDS)}"
        return Step(
            "symptom", words, focus.moment, ids(focus, case.failed, case.same(EventKind.DIED))
        )
    if case.asked is None:
        how = f"{visible(focus.reason, _WORDS)}{uptime(focus)}{last_words(focus)}"
        words = f"{case.pid} was gone: {how}"
        return Step("symptom", words, focus.moment, ids(focus))
    if case.asked.data.get("verb") in SURPLUS:
        words = f"{case.pid} ran beside what was wanted: {case.role.count}"
        return Step("symptom", words, case.asked.moment, ids(born, case.asked))
    if case.signs and (born is None or case.signs[-1].id > born.id):
        sign = case.signs[-1]
        return Step("symptom", visible(sign.reason, _WORDS), sign.moment, ids(sign))
    words = f"none: the ledger shows nothing wrong with {case.pid}{uptime(focus, 'after')}"
    return Step("symptom", words, case.asked.moment, ids(born))


def _detector(case: Case) -> Step:
    by = case.asked or case.failed or case.focus
    if case.asked is not None:
        words = f"{who(by.actor)} asked for it"
        if by.actor == POLICY and by.data.get("verb") == Verb.RESTART:
            words = "the daemon, which watches what becomes of the work"
    elif case.failed is not None:
        words = f"{who(by.actor)}, who tried to start it, did not see it live"
    else:
        words = {
            "shim": "its shim, which waits for it, saw it die and certified it",
            "guard": "the next command that looked found it dead",
            "outside": "the worker monitor looked, and it was gone: nobody can tell how it ended",
        }.get(by.actor, who(by.actor))
        if case.foreign:
            words += f"; nobody here asked for it: {case.foreign} came from outside"
    return Step("detector", words, by.moment, ids(by))


def _rule(case: Case) -> Step:
    role, asked = case.role, case.asked
    if asked is not None and asked.data.get("verb") in SURPLUS:
        words = f"at most {role.count} may run; the {role.keep} stays"
        return Step("rule", words, asked.moment, ids(asked))
    if asked is not None and asked.data.get("verb") == Verb.KILL:
        words = f"kill: {role.grace_s:g} s of grace; what a person ends stays down until an ensure"
        return Step("rule", words, asked.moment, ids(asked))
    if asked is not None:
        words = f"restart: {role.grace_s:g} s of grace to end, then a new start"
        if asked.actor == POLICY:
            words = f'policy: stalled = "restart"; {words}'
        return Step("rule", words, asked.moment, ids(asked))
    if not role.policy.enabled:
        return Step("rule", "automatic restarts are switched off", case.focus.moment)
    if not role.command:
        return Step("rule", "no command is configured to start it again", case.focus.moment)
    return Step("rule", _policy(case), case.focus.moment, ids(case.focus))


def _policy(case: Case) -> str:
    """The restart policy as it stood at this death."""
    policy = case.role.policy
    upto = case.ledger[: case.ledger.index(case.focus) + 1]
    memory = state_machine.remember(upto, case.role)
    if not memory.wanted:
        return "policy starts again only what has run and was not ended by a person"
    recent = state_machine.recent_restarts(case.role, memory, case.focus.moment)
    delay = policy.backoff_s * 2 ** max(0, min(memory.streak, 30) - 1)
    limit = f"at most {policy.limit} restarts in {duration(policy.window_s)}"
    if recent >= policy.limit:
        return f"{limit}: all {recent} are used up, so it is parked"
    wait = f"{min(delay, policy.backoff_max_s):g} s of back-off"
    deaths = f"death {memory.streak} in a row" if memory.streak > 1 else "first death in a row"
    return f"restart {recent + 1} of {policy.limit} after {wait} ({deaths}); {limit}"


def _action(case: Case) -> Iterable[Step]:
    """What was done about it: ended, started, tried, parked."""
    ended = case.same(EventKind.ENDED)
    if case.asked is not None:
        told = ended or case.focus
        words = f"{case.pid} ended: {visible(told.reason, _WORDS)}"
        yield Step("action", words, told.moment, ids(case.focus, ended))
        if case.asked.data.get("verb") in (Verb.KILL, *SURPLUS):
            if case.asked.data.get("verb") == Verb.KILL:
                yield from _again(case)
            return
    answers = case.answers()
    for done in answers[:MOST]:
        yield Step("action", _deed(case, done), done.moment, ids(done))
    if not answers and case.asked is None:
        yield _pending(case)


def _again(case: Case) -> Iterable[Step]:
    """What was started after a kill, and by what: the kill alone keeps nothing outside down."""
    for done in case.answers():
        if done.kind is EventKind.STARTED:
            yield Step("action", _deed(case, done), done.moment, ids(done))
            return
        if done.kind is EventKind.ADOPTED:
            late = duration(done.moment.since(case.focus.moment))
            by = text(done.data.get("launcher"), _WORDS) or "something else than rpa-console"
            words = f"{by} started {_pid(case, done)} {late} later: end that first to keep it down"
            yield Step("action", words, done.moment, ids(done))
            return


def _pid(case: Case, done: Event) -> str:
    return f"PID {done.identity.pid}" if done.identity else case.role.name


def _deed(case: Case, done: Event) -> str:
    late = duration(done.moment.since(case.focus.moment))
    pid = _pid(case, done)
    match done.kind:
        case EventKind.STARTED:
            return f"{who(done.actor)} started {pid} under token {done.token}, {late} later"
        case EventKind.ADOPTED:
            return f"{pid}, started by somebody else, was adopted {late} later"
        case EventKind.PARKED:
            return f"parked, {late} later: no further automatic start"
        case EventKind.ASKED if case.parked_before(done):
            return f"{who(done.actor)} wished it to stay down, {late} later"
        case EventKind.ASKED:
            return f"none: {who(done.actor)} called the restart off, {late} later"
        case EventKind.DIED:
            return f"{pid} died as well{uptime(done)}: {visible(done.reason, _WORDS)}"
        case _:
            tried = f"{who(done.actor)} tried and failed, {late} later"
            return f"{tried}: {visible(done.reason, _WORDS)}"


def _pending(case: Case) -> Step:
    memory = state_machine.remember(case.ledger, case.role)
    free = Lease(LeaseState.FREE)
    decision = state_machine.repair(case.role, memory, (), free, case.now)
    if decision.repair is Repair.WAIT and decision.at is not None:
        left = duration(decision.at.since(case.now))
        return Step("action", f"waits: {decision.reason}, due in {left}", decision.at)
    if decision.repair in (Repair.START, Repair.PARK):
        return Step("action", f"none yet: {decision.reason}", case.now)
    return Step("action", "none: nobody has started it again", case.now)


def _outcome(case: Case) -> Step:
    """How it stands now, by the ledger, and since when."""
    left = living(case.ledger)
    if left:
        pids = ", ".join(f"PID {one.identity.pid}" for one in left if one.identity)
        age = duration(case.now.since(left[-1].moment))
        words = f"{pids} runs, for {age} now" if len(left) == 1 else f"{pids} run"
        return Step("outcome", words, left[-1].moment, ids(*left))
    parked = case.after(EventKind.PARKED)
    if parked is not None:
        words = f"parked for {duration(case.now.since(parked.moment))} now: a person must act"
        words = f"{words}: {visible(parked.reason, _WORDS)}"
        return Step("outcome", words, parked.moment, ids(parked))
    last = case.last
    gone = duration(case.now.since(last.moment))
    wish = state_machine.remember(case.ledger, case.role).asked or case.asked
    if wish is not None and wish.data.get("verb") == Verb.KILL:
        words = f"down for {gone} now, as {who(wish.actor)} wished"
        return Step("outcome", words, last.moment, ids(wish))
    return Step("outcome", f"not running for {gone} now", last.moment, ids(last))
