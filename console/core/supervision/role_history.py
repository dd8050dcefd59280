"""Folds a role's events into its history: the wanted state, pending requests, and crashes."""

from __future__ import annotations

from collections.abc import Iterable

from console.core.model.commands import Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.model.time import Moment
from console.core.records import Record, replace
from console.core.supervision import restarts

POLICY_ACTOR, OUTSIDE_ACTOR = "policy", "outside"
SAME_CRASH_WINDOW_S = 2.0
"""Deaths of a role's instances within this time, or within its back-off, are one crash."""
MAX_AUTOMATIC_STARTS = 100
"""Number of automatic starts that are kept, whatever operators have done since."""
_INSTANCE_EVENT_KINDS = (
    EventKind.STARTED,
    EventKind.ADOPTED,
    EventKind.CONFIRMED,
    EventKind.ASKED,
    EventKind.RELEASED,
    EventKind.DIED,
    EventKind.ENDED,
    EventKind.PARKED,
)


class RoleHistory(Record, frozen=True):
    """The state of a role that follows from its events."""

    has_history: bool = False
    """True if an event concerns an instance, or the state that an operator wants."""
    wanted: bool = False
    """True if the role has run and no operator has ended it since: its absence was not
    requested."""
    pending_request: Event | None = None
    """The last requested kill or restart that has not yet been followed by a start."""
    parked: Event | None = None
    restart_attempts: tuple[Moment, ...] = ()
    """Automatic start attempts since an operator last took charge, one for each crash."""
    automatic_starts: tuple[Moment, ...] = ()
    """The same, including those before an operator took charge."""
    consecutive_crashes: int = 0
    """Number of crashes in a row without a healthy run between them."""
    crash_at: Moment | None = None
    """When the last crash began. An instance that is alive then and dies soon after is part of
    it."""
    crash_answered: bool = False
    """True if an automatic start has been counted for that crash."""
    restart_count: int = 0
    """Number of restarts by any actor, as far as the event log goes back."""
    ended_since_start: bool = False
    """True if an instance has died or ended since the last start."""
    last_start: Event | None = None
    last_death: Event | None = None
    stall_event: Event | None = None
    """The stall event; None if the role has been observed to work since."""
    last_counted_start: Identity | None = None
    last_counted_death: Identity | None = None
    """Instances already counted: the guard and the shim both record a start that fails at once, in
    any order."""


_EMPTY = RoleHistory()


def fold_events(events: Iterable[Event], role: Role, history: RoleHistory = _EMPTY) -> RoleHistory:
    """Return `history` extended by a role's events, oldest first.

    `history` results from the earlier events.
    """
    for event in events:
        ended_since_start, is_restart = restarts.classify_event(history.ended_since_start, event)
        if ended_since_start is not history.ended_since_start:
            history = replace(
                history,
                ended_since_start=ended_since_start,
                restart_count=history.restart_count + is_restart,
            )
        if not history.has_history and event.kind in _INSTANCE_EVENT_KINDS:
            history = replace(history, has_history=True)
        history = _fold_event(history, event, role)
    return history


def _fold_event(history: RoleHistory, event: Event, role: Role) -> RoleHistory:
    match event.kind:
        case EventKind.STARTED:
            return _fold_start(history, event, role)
        case EventKind.ADOPTED:
            # An instance that is observed again after an operator's kill is not wanted for that.
            if _is_kill_pending(history):
                return replace(history, last_start=event)
            return replace(history, wanted=True, pending_request=None, last_start=event)
        case EventKind.CONFIRMED | EventKind.RELEASED if event.actor != POLICY_ACTOR:
            wanted = history.wanted or event.kind is EventKind.CONFIRMED
            policy_state = (
                history.wanted,
                history.parked,
                history.restart_attempts,
                history.consecutive_crashes,
                history.pending_request,
            )
            if policy_state == (wanted, None, (), 0, None):
                return history  # the usual case if `ensure` runs every minute
            history = replace(history, wanted=wanted, pending_request=None)
            return _reset_policy(history)
        case EventKind.ASKED:
            wanted = event.data.get("verb") != Verb.KILL
            return replace(history, pending_request=event, wanted=wanted, crash_answered=False)
        case EventKind.FAILED if (
            event.data.get("verb") == Verb.ENSURE and event.actor == POLICY_ACTOR
        ):
            wanted = history.wanted or not history.has_history
            history = replace(history, wanted=wanted, crash_answered=False)
            return replace(
                _count_crash(_count_start(history, event, role), event, role), last_death=event
            )
        case EventKind.DIED:
            return _fold_death(history, event, role)
        case EventKind.PARKED:
            return replace(history, parked=event)
        case EventKind.STALLED | EventKind.READY:
            return replace(history, stall_event=event if event.kind is EventKind.STALLED else None)
        case _:
            return history


def _is_kill_pending(history: RoleHistory) -> bool:
    return (
        history.pending_request is not None
        and history.pending_request.data.get("verb") == Verb.KILL
    )


def _fold_start(history: RoleHistory, event: Event, role: Role) -> RoleHistory:
    is_first = history.last_start is None and history.last_death is None
    history = replace(history, last_start=event)
    if history.pending_request is not None and history.pending_request.identity == event.identity:
        return history  # recorded late: the request made since then remains pending
    history = replace(history, wanted=True, pending_request=None)
    if event.actor != POLICY_ACTOR:
        return _reset_policy(history)
    return history if is_first else _count_start(history, event, role)


def _reset_policy(history: RoleHistory) -> RoleHistory:
    """Return `history` with the policy reset: an operator started the role or found it running."""
    return replace(
        history,
        parked=None,
        restart_attempts=(),
        consecutive_crashes=0,
        crash_at=None,
        crash_answered=False,
    )


def _fold_death(history: RoleHistory, event: Event, role: Role) -> RoleHistory:
    history = replace(history, last_death=event)
    if is_deliberate(event, history.pending_request):
        return history
    if _uptime_s(event) >= role.policy.unpark_s:
        history = replace(history, restart_attempts=(), parked=None)
    return _count_crash(history, event, role)


def _uptime_s(death: Event) -> float:
    return float(death.data.get("uptime_s") or 0.0)


def _count_start(history: RoleHistory, event: Event, role: Role) -> RoleHistory:
    """Return `history` with one more automatic attempt, unless it is already counted.

    With several instances, one attempt is counted for each crash.
    """
    if event.identity is not None and event.identity == history.last_counted_start:
        return history
    history = replace(history, last_counted_start=event.identity)
    if history.crash_answered and role.count > 1:
        return history
    return replace(
        history,
        restart_attempts=(*history.restart_attempts, event.moment),
        automatic_starts=(*history.automatic_starts[-MAX_AUTOMATIC_STARTS:], event.moment),
        crash_answered=True,
    )


def _count_crash(history: RoleHistory, event: Event, role: Role) -> RoleHistory:
    """Return `history` with one more crash, unless it is already counted.

    After a healthy run, it is the first one in a row.
    """
    if event.identity is not None and event.identity == history.last_counted_death:
        return history
    history = replace(history, last_counted_death=event.identity)
    if _is_same_crash(history, event, role):
        return history
    was_healthy = event.kind is EventKind.DIED and _uptime_s(event) >= role.policy.healthy_s
    streak = 1 if was_healthy else history.consecutive_crashes + 1
    return replace(history, consecutive_crashes=streak, crash_at=event.moment, crash_answered=False)


def _is_same_crash(history: RoleHistory, death: Event, role: Role) -> bool:
    """Return True if the instance that died was alive when another one died, a moment ago."""
    if history.crash_at is None or death.kind is not EventKind.DIED or role.count < 2:
        return False
    delay_s = death.moment.since(history.crash_at)
    return delay_s <= max(SAME_CRASH_WINDOW_S, role.policy.backoff_s) and _uptime_s(death) > delay_s


def is_deliberate(death: Event, request: Event | None) -> bool:
    """Return True if `request` asked for this death."""
    return request is not None and request.identity == death.identity
