"""Explains a role's current trouble or, if there is none, its last death."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from console.core.explain.death_case import actor_label, collect_event_ids
from console.core.explain.death_chain import MAX_ACTIONS, ExplanationStep, explain_last_death
from console.core.model.commands import Verb
from console.core.model.events import END_KINDS, Event, EventKind
from console.core.model.processes import Instance, Process
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.supervision import state_machine
from console.core.supervision.state_machine import RepairAction, RoleHistory
from console.core.text.formatting import format_duration, sanitize_text

_MAX_REASON_CHARS = 200
_RESPONSE_KINDS = (EventKind.ASKED, EventKind.FAILED, EventKind.REFUSED, EventKind.PARKED)


def explain_role(role: Role, events: Iterable[Event], now: Moment) -> tuple[ExplanationStep, ...]:
    """Return the chain of the role's current trouble, or else of its last death."""
    events = tuple(events)
    role_events = tuple(event for event in events if event.role == role.name)
    history = state_machine.fold_events(role_events, role)
    stall_event = history.stall_event
    if stall_event is not None and not _has_ended(stall_event, role_events):
        return tuple(_stall_steps(role, history, stall_event, role_events, now))
    chain = explain_last_death(role, events, now)
    if len(chain) == 1 and history.parked is not None:
        return tuple(_parked_steps(role, history.parked, now))
    return chain


def _has_ended(stall_event: Event, role_events: Sequence[Event]) -> bool:
    """Return True if the stalled instance has died or ended since `stall_event`."""
    return any(
        e.kind in END_KINDS and e.id > stall_event.id and e.identity == stall_event.identity
        for e in role_events
    )


# --- running, but stalled -------------------------------------------------------------------


def _stall_steps(
    role: Role,
    role_history: RoleHistory,
    stall_event: Event,
    role_events: Sequence[Event],
    now: Moment,
) -> Iterator[ExplanationStep]:
    pid = f"PID {stall_event.identity.pid}" if stall_event.identity else role.name
    evidence = stall_event.moment, collect_event_ids(stall_event)
    yield ExplanationStep(
        "symptom",
        f"{pid} lives and does no work: {sanitize_text(stall_event.reason, _MAX_REASON_CHARS)}",
        *evidence,
    )
    detector = "the daemon" if stall_event.actor == "daemon" else actor_label(stall_event.actor)
    yield ExplanationStep(
        "detector", f"{detector}, which watches what becomes of the work", *evidence
    )
    yield ExplanationStep("rule", _stall_rule_text(role), *evidence)
    responses = [
        e
        for e in role_events
        if e.id > stall_event.id
        and e.kind in _RESPONSE_KINDS
        and _is_about_same_process(e, stall_event)
    ]
    for response in responses[-MAX_ACTIONS:]:
        yield ExplanationStep(
            "action",
            _response_text(response, stall_event),
            response.moment,
            collect_event_ids(response),
        )
    if not responses:
        yield ExplanationStep("action", *_pending_action(role, role_history, stall_event, now))
    words = f"{pid} has done no work for {format_duration(now.since(stall_event.moment))} now"
    if role.policy.stalled != "restart" or role_history.parked is not None:
        words += ": a person must act; a restart would end it and start another"
    yield ExplanationStep("outcome", words, now, collect_event_ids(stall_event))


def _is_about_same_process(event: Event, stall_event: Event) -> bool:
    return event.identity is None or event.identity == stall_event.identity


def _stall_rule_text(role: Role) -> str:
    policy = role.policy
    if not policy.enabled:
        return "automatic restarts are switched off"
    if policy.stalled != "restart":
        return f'policy: stalled = "{policy.stalled}": it is told, and left to a person'
    limit = f"at most {policy.limit} restarts in {format_duration(policy.window_s)}"
    return f'policy: stalled = "restart": what does no work is restarted, {limit}'


def _response_text(response: Event, stall_event: Event) -> str:
    delay = f"{format_duration(response.moment.since(stall_event.moment))} later"
    reason = f": {sanitize_text(response.reason, _MAX_REASON_CHARS)}" if response.reason else ""
    match response.kind:
        case EventKind.ASKED:
            verb = "a restart" if response.data.get("verb") == Verb.RESTART else "its end"
            return f"{actor_label(response.actor)} asked for {verb}, {delay}"
        case EventKind.PARKED:
            return f"parked, {delay}: no further automatic start{reason}"
        case EventKind.REFUSED:
            return f"{actor_label(response.actor)} was refused, {delay}{reason}"
        case _:
            return f"{actor_label(response.actor)} tried and failed, {delay}{reason}"


def _pending_action(
    role: Role, role_history: RoleHistory, stall_event: Event, now: Moment
) -> tuple[str, Moment]:
    """Return what the restart policy is about to do, and its due time (else `now`)."""
    instances: tuple[Instance, ...] = ()
    if stall_event.identity is not None:
        instances = (
            Instance(role.name, (Process(stall_event.identity, 1, (), stall_event.moment),)),
        )
    decision = state_machine.decide_stall_restart(role, role_history, instances, now)
    if decision.action is RepairAction.WAIT and decision.due_at is not None:
        remaining = format_duration(decision.due_at.since(now))
        return f"waits: {decision.reason}, due in {remaining}", decision.due_at
    if decision.action in (RepairAction.RESTART, RepairAction.PARK):
        return f"none yet: {decision.reason}", now
    return "none: nobody has restarted it", now


# --- parked, with deaths older than the events read -----------------------------------------


def _parked_steps(role: Role, parked_event: Event, now: Moment) -> Iterator[ExplanationStep]:
    evidence, policy = (parked_event.moment, collect_event_ids(parked_event)), role.policy
    yield ExplanationStep(
        "symptom", f"{role.name} kept dying; how is older than what was read", *evidence
    )
    yield ExplanationStep(
        "detector", f"{actor_label(parked_event.actor)}, which counts its own starts", *evidence
    )
    limit = f"at most {policy.limit} restarts in {format_duration(policy.window_s)}"
    yield ExplanationStep("rule", limit, *evidence)
    yield ExplanationStep(
        "action", f"parked: {sanitize_text(parked_event.reason, _MAX_REASON_CHARS)}", *evidence
    )
    words = f"parked for {format_duration(now.since(parked_event.moment))} now: a person must act"
    yield ExplanationStep("outcome", words, now, collect_event_ids(parked_event))
