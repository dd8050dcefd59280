"""Explains from the event log why a role last died, restarted or stayed down.

The chain is: symptom, detector, rule and threshold, action, outcome. Each step has its time and the
ids of the events that prove it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from console.core.explain.death_case import (
    DeathCase,
    actor_label,
    collect_event_ids,
    find_living_starts,
    last_stderr_text,
    uptime_text,
)
from console.core.model.commands import Verb
from console.core.model.events import START_KINDS, Event, EventKind
from console.core.model.roles import Lease, LeaseState, Role
from console.core.model.time import Moment
from console.core.records import Record
from console.core.supervision import state_machine
from console.core.supervision.state_machine import POLICY_ACTOR, RepairAction
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_number, as_text

SURPLUS_VERBS = (Verb.ENSURE, Verb.END_DUPLICATES)
_MAX_REASON_CHARS = 200
MAX_ACTIONS = 8
"""Maximum number of actions in a chain."""


class ExplanationStep(Record, frozen=True):
    """One step of the chain."""

    part: str
    """`symptom`, `detector`, `rule`, `action` or `outcome`."""
    text: str
    moment: Moment | None = None
    event_ids: tuple[int, ...] = ()


def explain_last_death(
    role: Role, events: Iterable[Event], now: Moment
) -> tuple[ExplanationStep, ...]:
    """Return the chain of the last death or failed start.

    If the role has neither, return a single step that says so.
    """
    events = tuple(events)
    role_events = tuple(event for event in events if event.role == role.name)
    fatal_event = _find_first_consecutive_death(
        [event for event in role_events if _is_fatal(event)], role_events, role
    )
    if fatal_event is None:
        return (_no_death_step(role, role_events, now),)
    stall_events = tuple(e for e in events if e.id < fatal_event.id and _is_stall_sign(e, role))
    case = DeathCase(role, role_events, fatal_event, now, stall_events[-1:])
    return (
        _symptom_step(case),
        _detector_step(case),
        _rule_step(case),
        *_action_steps(case),
        _outcome_step(case),
    )


def _is_fatal(event: Event) -> bool:
    if event.kind is EventKind.DIED:
        return True
    return event.kind is EventKind.FAILED and event.data.get("verb") == Verb.ENSURE


def _find_first_consecutive_death(
    fatal_events: Sequence[Event], role_events: Sequence[Event], role: Role
) -> Event | None:
    """Return the last death, or the first one of its row of deaths that no command requested.

    None if there is no death. Two deaths belong to one row if they are at most `policy.window_s`
    apart and the earlier instance was not healthy.
    """
    requested = {event.identity for event in role_events if event.kind is EventKind.ASKED}
    first_death: Event | None = None
    for event in reversed(fatal_events):
        if first_death is not None:
            is_separate = first_death.moment.since(event.moment) > role.policy.window_s
            if is_separate or event.identity in requested:
                return first_death
        first_death = event
        healthy = (as_number(event.data.get("uptime_s")) or 0.0) >= role.policy.healthy_s
        if event.identity in requested or (event.kind is EventKind.DIED and healthy):
            return first_death
    return first_death


def _is_stall_sign(event: Event, role: Role) -> bool:
    """Return True if `event` shows that a running role does no work."""
    if event.kind is EventKind.STALLED and event.role == role.name:
        return True
    if event.kind is not EventKind.MONITOR_CHANGED or role.name != "worker":
        return False
    return event.data.get("monitor") == "canary" and event.data.get("state") == "failing"


def _no_death_step(role: Role, role_events: Sequence[Event], now: Moment) -> ExplanationStep:
    start = next((event for event in reversed(role_events) if event.kind in START_KINDS), None)
    if start is not None:
        origin = (
            "was adopted" if start.kind is EventKind.ADOPTED else f"was started by {start.actor}"
        )
        if (
            start.actor == POLICY_ACTOR
            and sum(event.kind in START_KINDS for event in role_events) == 1
        ):
            origin += f" ({state_machine.FIRST_START_REASON})"
        age = format_duration(now.since(start.moment))
        pid = f"PID {start.identity.pid}" if start.identity else role.name
        words = f"nothing to explain: {pid} {origin} {age} ago and has not died since"
        return ExplanationStep("outcome", words, start.moment, (start.id,))
    last_event = role_events[-1] if role_events else None
    words = f"{role.name} has never been started, as far as the ledger goes back"
    if last_event is not None:
        words += (
            f"; the last word on it: {last_event.kind.value}: "
            f"{sanitize_text(last_event.reason, _MAX_REASON_CHARS)}"
        )
    return ExplanationStep(
        "outcome",
        words,
        last_event.moment if last_event else None,
        (last_event.id,) if last_event else (),
    )


# --- the five steps -------------------------------------------------------------------------


def _symptom_step(case: DeathCase) -> ExplanationStep:
    death, start = case.fatal_event, case.same_process_event(*START_KINDS)
    if case.failed_start:
        words = (
            f"a start did not succeed: {sanitize_text(case.failed_start.reason, _MAX_REASON_CHARS)}"
        )
        return ExplanationStep(
            "symptom",
            words,
            death.moment,
            collect_event_ids(death, case.failed_start, case.same_process_event(EventKind.DIED)),
        )
    if case.stop_request is None:
        how = (
            f"{sanitize_text(death.reason, _MAX_REASON_CHARS)}"
            f"{uptime_text(death)}{last_stderr_text(death)}"
        )
        words = f"{case.pid_text} was gone: {how}"
        return ExplanationStep("symptom", words, death.moment, collect_event_ids(death))
    if case.stop_request.data.get("verb") in SURPLUS_VERBS:
        words = f"{case.pid_text} ran beside what was wanted: {case.role.count}"
        return ExplanationStep(
            "symptom", words, case.stop_request.moment, collect_event_ids(start, case.stop_request)
        )
    if case.stall_events and (start is None or case.stall_events[-1].id > start.id):
        stall_event = case.stall_events[-1]
        return ExplanationStep(
            "symptom",
            sanitize_text(stall_event.reason, _MAX_REASON_CHARS),
            stall_event.moment,
            collect_event_ids(stall_event),
        )
    words = (
        f"none: the ledger shows nothing wrong with {case.pid_text}{uptime_text(death, 'after')}"
    )
    return ExplanationStep("symptom", words, case.stop_request.moment, collect_event_ids(start))


def _detector_step(case: DeathCase) -> ExplanationStep:
    event = case.stop_request or case.failed_start or case.fatal_event
    if case.stop_request is not None:
        words = f"{actor_label(event.actor)} asked for it"
        if event.actor == POLICY_ACTOR and event.data.get("verb") == Verb.RESTART:
            words = "the daemon, which watches what becomes of the work"
    elif case.failed_start is not None:
        words = f"{actor_label(event.actor)}, who tried to start it, did not see it live"
    else:
        words = {
            "shim": "its shim, which waits for it, saw it die and certified it",
            "guard": "the next command that looked found it dead",
            "outside": "the worker monitor looked, and it was gone: nobody can tell how it ended",
        }.get(event.actor, actor_label(event.actor))
        if case.external_signal:
            words += f"; nobody here asked for it: {case.external_signal} came from outside"
    return ExplanationStep("detector", words, event.moment, collect_event_ids(event))


def _rule_step(case: DeathCase) -> ExplanationStep:
    role, request = case.role, case.stop_request
    if request is not None and request.data.get("verb") in SURPLUS_VERBS:
        words = f"at most {role.count} may run; the {role.keep} stays"
        return ExplanationStep("rule", words, request.moment, collect_event_ids(request))
    if request is not None and request.data.get("verb") == Verb.KILL:
        words = f"kill: {role.grace_s:g} s of grace; what a person ends stays down until an ensure"
        return ExplanationStep("rule", words, request.moment, collect_event_ids(request))
    if request is not None:
        words = f"restart: {role.grace_s:g} s of grace to end, then a new start"
        if request.actor == POLICY_ACTOR:
            words = f'policy: stalled = "restart"; {words}'
        return ExplanationStep("rule", words, request.moment, collect_event_ids(request))
    if not role.policy.enabled:
        return ExplanationStep(
            "rule", "automatic restarts are switched off", case.fatal_event.moment
        )
    if not role.command:
        return ExplanationStep(
            "rule", "no command is configured to start it again", case.fatal_event.moment
        )
    return ExplanationStep(
        "rule", _policy_text(case), case.fatal_event.moment, collect_event_ids(case.fatal_event)
    )


def _policy_text(case: DeathCase) -> str:
    """Return the restart policy's rule as it applied to this death."""
    policy = case.role.policy
    events_until_death = case.role_events[: case.role_events.index(case.fatal_event) + 1]
    history = state_machine.fold_events(events_until_death, case.role)
    if not history.wanted:
        return "policy starts again only what has run and was not ended by a person"
    recent = state_machine.count_recent_restarts(case.role, history, case.fatal_event.moment)
    delay = policy.backoff_s * 2 ** max(0, min(history.consecutive_crashes, 30) - 1)
    limit = f"at most {policy.limit} restarts in {format_duration(policy.window_s)}"
    if recent >= policy.limit:
        return f"{limit}: all {recent} are used up, so it is parked"
    wait = f"{min(delay, policy.backoff_max_s):g} s of back-off"
    deaths = (
        f"death {history.consecutive_crashes} in a row"
        if history.consecutive_crashes > 1
        else "first death in a row"
    )
    return f"restart {recent + 1} of {policy.limit} after {wait} ({deaths}); {limit}"


def _action_steps(case: DeathCase) -> Iterable[ExplanationStep]:
    """Yield the actions after the death: end, start, failed start, parking."""
    ended = case.same_process_event(EventKind.ENDED)
    if case.stop_request is not None:
        end_event = ended or case.fatal_event
        words = f"{case.pid_text} ended: {sanitize_text(end_event.reason, _MAX_REASON_CHARS)}"
        yield ExplanationStep(
            "action", words, end_event.moment, collect_event_ids(case.fatal_event, ended)
        )
        if case.stop_request.data.get("verb") in (Verb.KILL, *SURPLUS_VERBS):
            if case.stop_request.data.get("verb") == Verb.KILL:
                yield from _restart_after_kill_steps(case)
            return
    responses = case.responses()
    for response in responses[:MAX_ACTIONS]:
        yield ExplanationStep(
            "action", _response_text(case, response), response.moment, collect_event_ids(response)
        )
    if not responses and case.stop_request is None:
        yield _pending_step(case)


def _restart_after_kill_steps(case: DeathCase) -> Iterable[ExplanationStep]:
    """Yield the first start or adoption after a kill.

    A kill does not prevent another program from starting the role again, so the step names that
    program.
    """
    for response in case.responses():
        if response.kind is EventKind.STARTED:
            yield ExplanationStep(
                "action",
                _response_text(case, response),
                response.moment,
                collect_event_ids(response),
            )
            return
        if response.kind is EventKind.ADOPTED:
            delay = format_duration(response.moment.since(case.fatal_event.moment))
            launcher = (
                as_text(response.data.get("launcher"), _MAX_REASON_CHARS)
                or "something else than rpa-console"
            )
            words = (
                f"{launcher} started {_pid_text(case, response)} {delay} "
                "later: end that first to keep it down"
            )
            yield ExplanationStep("action", words, response.moment, collect_event_ids(response))
            return


def _pid_text(case: DeathCase, event: Event) -> str:
    return f"PID {event.identity.pid}" if event.identity else case.role.name


def _response_text(case: DeathCase, response: Event) -> str:
    delay = format_duration(response.moment.since(case.fatal_event.moment))
    pid = _pid_text(case, response)
    match response.kind:
        case EventKind.STARTED:
            return (
                f"{actor_label(response.actor)} started {pid} under token "
                f"{response.token}, {delay} later"
            )
        case EventKind.ADOPTED:
            return f"{pid}, started by somebody else, was adopted {delay} later"
        case EventKind.PARKED:
            return f"parked, {delay} later: no further automatic start"
        case EventKind.ASKED if case.is_parked_before(response):
            return f"{actor_label(response.actor)} wished it to stay down, {delay} later"
        case EventKind.ASKED:
            return f"none: {actor_label(response.actor)} called the restart off, {delay} later"
        case EventKind.DIED:
            return (
                f"{pid} died as well{uptime_text(response)}: "
                f"{sanitize_text(response.reason, _MAX_REASON_CHARS)}"
            )
        case _:
            failure = f"{actor_label(response.actor)} tried and failed, {delay} later"
            return f"{failure}: {sanitize_text(response.reason, _MAX_REASON_CHARS)}"


def _pending_step(case: DeathCase) -> ExplanationStep:
    history = state_machine.fold_events(case.role_events, case.role)
    free_lease = Lease(LeaseState.FREE)
    decision = state_machine.decide_restart(case.role, history, (), free_lease, case.now)
    if decision.action is RepairAction.WAIT and decision.due_at is not None:
        remaining = format_duration(decision.due_at.since(case.now))
        return ExplanationStep(
            "action", f"waits: {decision.reason}, due in {remaining}", decision.due_at
        )
    if decision.action in (RepairAction.START, RepairAction.PARK):
        return ExplanationStep("action", f"none yet: {decision.reason}", case.now)
    return ExplanationStep("action", "none: nobody has started it again", case.now)


def _outcome_step(case: DeathCase) -> ExplanationStep:
    """Return the role's current state by the event log, and since when."""
    living_starts = find_living_starts(case.role_events)
    if living_starts:
        pids = ", ".join(f"PID {start.identity.pid}" for start in living_starts if start.identity)
        age = format_duration(case.now.since(living_starts[-1].moment))
        words = f"{pids} runs, for {age} now" if len(living_starts) == 1 else f"{pids} run"
        return ExplanationStep(
            "outcome", words, living_starts[-1].moment, collect_event_ids(*living_starts)
        )
    parked_event = case.later_event(EventKind.PARKED)
    if parked_event is not None:
        words = (
            f"parked for {format_duration(case.now.since(parked_event.moment))} "
            "now: a person must act"
        )
        words = f"{words}: {sanitize_text(parked_event.reason, _MAX_REASON_CHARS)}"
        return ExplanationStep(
            "outcome", words, parked_event.moment, collect_event_ids(parked_event)
        )
    last_death = case.last_death
    downtime = format_duration(case.now.since(last_death.moment))
    request = (
        state_machine.fold_events(case.role_events, case.role).pending_request or case.stop_request
    )
    if request is not None and request.data.get("verb") == Verb.KILL:
        words = f"down for {downtime} now, as {actor_label(request.actor)} wished"
        return ExplanationStep("outcome", words, last_death.moment, collect_event_ids(request))
    return ExplanationStep(
        "outcome",
        f"not running for {downtime} now",
        last_death.moment,
        collect_event_ids(last_death),
    )
