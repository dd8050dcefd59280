"""The state machine of a role: its state, the permitted commands, and the policy's decisions.

All decisions about a role are made in this module. It performs no I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from console.core.model.commands import Command, Verb
from console.core.model.events import Event
from console.core.model.processes import Identity, Instance
from console.core.model.roles import Lease, LeaseState, Role, RoleState
from console.core.model.time import Moment
from console.core.processes.instances import find_surplus
from console.core.records import Record
from console.core.supervision.role_history import (
    OUTSIDE_ACTOR,
    POLICY_ACTOR,
    RoleHistory,
    fold_events,
    is_deliberate,
)
from console.core.text.formatting import format_duration

__all__ = ["OUTSIDE_ACTOR", "POLICY_ACTOR", "RoleHistory", "fold_events", "is_deliberate"]

ROLES_WITH_PROOF_OF_WORK = {"worker", "watchdog", "queue", "pipeline"}
"""Roles whose work, and not only their existence, a monitor can observe."""

# --- policy ---------------------------------------------------------------------------------


HELD_LEASE_RETRY_S = 1.0
"""Seconds until a held lease is checked again while no worker is visible."""
LEASE_RELEASE_RETRY_S = 0.25
"""Seconds until a lease that a dying worker's shim still holds is checked again."""


MIN_LOCK_TIMEOUT_S = 30.0
"""Minimum number of seconds that a caller waits for another caller."""
INSTANCE_OVERHEAD_S = 5.0
"""Seconds per instance for observation, locking and the shim's final records."""
FIRST_START_REASON = "first start of this daemon"
"""Why the policy starts a role that has never run here."""
SHIM_FINISHING_REASON = "it has just died; its shim records how"


class RepairAction(StrEnum):
    NOTHING = "nothing"
    WAIT = "wait"
    START = "start"
    PARK = "park"
    RESTART = "restart"


class RepairDecision(Record, frozen=True):
    """The policy's current decision about a role, and the reason for it."""

    action: RepairAction
    reason: str = ""
    due_at: Moment | None = None
    """When a waiting repair is due."""


def decide_restart(
    role: Role, history: RoleHistory, instances: Sequence[Instance], lease: Lease, now: Moment
) -> RepairDecision:
    """Return the policy's decision about a role that may have died or was never started."""
    if len(instances) >= role.count or not should_run(role, history):
        return RepairDecision(RepairAction.NOTHING)
    if not role.policy.enabled or not role.command:
        return RepairDecision(RepairAction.NOTHING)
    if lease.state is LeaseState.UNKNOWN:
        return RepairDecision(RepairAction.NOTHING, lease.reason)
    if history.parked is not None:
        return RepairDecision(RepairAction.NOTHING, history.parked.reason)
    is_held = lease.state is LeaseState.HELD and not instances
    if is_held and not is_owner_death_recorded(history, lease):
        reason = SHIM_FINISHING_REASON if is_shim_finishing(history, lease) else "the lease is held"
        return RepairDecision(RepairAction.WAIT, reason, now.plus(HELD_LEASE_RETRY_S))
    if not history.has_history and history.last_death is None:
        return RepairDecision(RepairAction.START, FIRST_START_REASON)
    due = (
        history.last_death.moment.plus(_backoff_delay_s(role, history))
        if history.last_death is not None
        else now
    )
    if is_held and due.since(now) <= 0:
        # The shim is cleaning up. It sends no notification when it releases the lease.
        due = now.plus(LEASE_RELEASE_RETRY_S)
    return _apply_restart_limit(role, history, RepairAction.START, due, now)


def should_run(role: Role, history: RoleHistory) -> bool:
    """Return True if the role should run.

    That is: it has run and no operator has ended it, or it has no history and `autostart` is set.
    """
    return history.wanted or (not history.has_history and role.autostart and bool(role.command))


def lock_timeout_s(role: Role) -> float:
    """Return the seconds that a caller waits for another caller that works on this role.

    It is at least the time that a restart of all instances takes. They are restarted one after the
    other, each with its grace period and settle time.
    """
    return max(
        MIN_LOCK_TIMEOUT_S,
        INSTANCE_OVERHEAD_S + role.count * (role.grace_s + role.settle_s + INSTANCE_OVERHEAD_S),
    )


def decide_stall_restart(
    role: Role, history: RoleHistory, instances: Sequence[Instance], now: Moment
) -> RepairDecision:
    """Return the policy's decision about a role that is alive and stalled."""
    policy, stall_event = role.policy, history.stall_event
    if policy.stalled != "restart" or not policy.enabled or not role.command:
        return RepairDecision(RepairAction.NOTHING)
    if (
        stall_event is None
        or stall_event.identity is None
        or find_instance(instances, stall_event.identity) is None
    ):
        return RepairDecision(RepairAction.NOTHING)
    ended_identities = [
        event.identity
        for event in (history.pending_request, history.last_death)
        if event is not None
    ]
    if stall_event.identity in ended_identities or history.parked is not None or not history.wanted:
        return RepairDecision(RepairAction.NOTHING)
    due = stall_event.moment.plus(_backoff_delay_s(role, history))
    return _apply_restart_limit(role, history, RepairAction.RESTART, due, now)


def _backoff_delay_s(role: Role, history: RoleHistory) -> float:
    """Return the back-off in seconds: doubled with each crash in a row, up to `backoff_max_s`."""
    factor = 2.0 ** max(0, min(history.consecutive_crashes, 30) - 1)
    return min(role.policy.backoff_s * factor, role.policy.backoff_max_s)


def _apply_restart_limit(
    role: Role, history: RoleHistory, action: RepairAction, due: Moment, now: Moment
) -> RepairDecision:
    """Return the repair with its due time, or parking if there were too many restarts."""
    limit, recent = role.policy.limit, count_recent_restarts(role, history, now)
    if recent >= limit:
        window = format_duration(role.policy.window_s)
        return RepairDecision(
            RepairAction.PARK, f"{recent} automatic restarts within {window}: a person must act"
        )
    reason = f"restart {recent + 1} of {limit}"
    return (
        RepairDecision(RepairAction.WAIT, reason, due)
        if due.since(now) > 0
        else RepairDecision(action, reason)
    )


def count_recent_starts(role: Role, history: RoleHistory, now: Moment) -> int:
    """Return the number of automatic starts within the policy's window.

    Starts before an operator took charge are included.
    """
    return sum(
        1 for moment in history.automatic_starts if now.since(moment) <= role.policy.window_s
    )


def count_recent_restarts(role: Role, history: RoleHistory, now: Moment) -> int:
    """Return the number of automatic start attempts within the policy's window."""
    return sum(
        1 for moment in history.restart_attempts if now.since(moment) <= role.policy.window_s
    )


# --- permission -----------------------------------------------------------------------------


def command_refusal(
    command: Command, role: Role, instances: Sequence[Instance], lease: Lease
) -> str | None:
    """Return why a command may not be carried out, or None if it may."""
    if command.verb is Verb.ENSURE and not role.command and len(instances) < role.count:
        return (
            f"no command is configured to start it; add `command = [...]` under [roles.{role.name}]"
        )
    if command.verb is Verb.RESTART and not role.command:
        return (
            f"no command is configured to start it again; "
            f"add `command = [...]` under [roles.{role.name}]"
        )
    if lease.state is LeaseState.REPLACED and command.verb is Verb.ENSURE and not instances:
        owner = lease.owner.identity.pid if lease.owner else "?"
        return f"the lock file was removed or replaced while PID {owner} lives; end that one first"
    if command.verb not in (Verb.KILL, Verb.RESTART):
        return None
    if command.target is not None:
        return _target_refusal(command, command.target, instances)
    if command.token is not None and all(i.token != command.token for i in instances):
        tokens = ", ".join(str(instance.token) for instance in instances) or "none"
        return f"nothing runs under token {command.token} (now: {tokens})"
    return None


def _target_refusal(
    command: Command, target: Identity, instances: Sequence[Instance]
) -> str | None:
    instance = find_instance(instances, target)
    if instance is None:
        others = ", ".join(str(other.pid) for other in instances) or "none"
        return f"PID {target.pid} as you saw it is no longer running (now: {others})"
    if command.token is not None and instance.token != command.token:
        return f"PID {target.pid} now runs under token {instance.token}, not {command.token}"
    return None


def find_instance(instances: Sequence[Instance], identity: Identity) -> Instance | None:
    """Return the instance that contains the process `identity`, or None."""
    return next(
        (i for i in instances if any(p.identity == identity for p in i.processes)),
        None,
    )


def select_targets(
    command: Command, role: Role, instances: Sequence[Instance]
) -> tuple[Instance, ...]:
    """Return the instances that a command would end."""
    if command.verb is Verb.END_DUPLICATES:
        return find_surplus(role, instances)
    if command.verb is Verb.ENSURE:
        return find_surplus(role, instances) if len(instances) > role.count else ()
    if command.target is not None:
        instance = find_instance(instances, command.target)
        return (instance,) if instance else ()
    return tuple(i for i in instances if command.token in (None, i.token))


# --- the state ------------------------------------------------------------------------------


def derive_state(
    role: Role,
    history: RoleHistory,
    instances: Sequence[Instance],
    lease: Lease,
    last_proof_of_work: Moment | None,
    stall_evidence: str | None,
    now: Moment,
) -> tuple[RoleState, str]:
    """Return the role's state and the reason for it.

    `last_proof_of_work` is when the role was last observed to work. `stall_evidence` is the
    evidence that it does no work.
    """
    if not instances:
        return _state_without_instances(role, history, instances, lease, now)
    if history.pending_request is not None and find_instance(
        instances, history.pending_request.identity or _NO_PROCESS
    ):
        return (
            RoleState.STOPPING,
            f"{history.pending_request.data.get('verb', 'end')} by {history.pending_request.actor}",
        )
    stopped = [i for i in instances if i.root.state == "T"]
    if stopped:
        return RoleState.STALLED, f"PID {stopped[0].pid} is stopped (SIGSTOP)"
    if stall_evidence:
        return RoleState.STALLED, stall_evidence
    newest_start = max((i.root.started for i in instances), key=lambda moment: moment.tick)
    has_worked = last_proof_of_work is not None and not newest_start.later_than(last_proof_of_work)
    if has_worked and worked_since_stall(history.stall_event, last_proof_of_work):
        return RoleState.READY, "seen to work"
    if min(instance.uptime(now) for instance in instances) < role.settle_s:
        return RoleState.STARTING, f"not yet {format_duration(role.settle_s)} old"
    if has_worked:
        return RoleState.RUNNING, "alive; not yet seen to work again since it was stalled"
    return (
        RoleState.RUNNING,
        "alive; not yet seen to work" if role.name in ROLES_WITH_PROOF_OF_WORK else "alive",
    )


def worked_since_stall(stall_event: Event | None, last_proof_of_work: Moment | None) -> bool:
    """Return True if the role was observed to work after `stall_event`, or there is none."""
    return stall_event is None or (
        last_proof_of_work is not None and last_proof_of_work.later_than(stall_event.moment)
    )


_NO_PROCESS = Identity(-1, -1, "")


def is_shim_finishing(history: RoleHistory, lease: Lease) -> bool:
    """Return True if a held lease is that of the last owner, which is dead.

    Its shim has not released the lease yet. A caller that is about to start a worker holds the
    lease itself and has no shim.
    """
    owner = lease.owner
    if owner is None or owner.shim is None:
        return False
    return is_owner_death_recorded(history, lease) or owner.shim.pid in lease.holders


def is_owner_death_recorded(history: RoleHistory, lease: Lease) -> bool:
    """Return True if the death of the lease's owner is recorded.

    Its shim then only has to clean up and release the lease.
    """
    if history.last_death is None or lease.owner is None:
        return False
    return history.last_death.identity == lease.owner.identity


def _state_without_instances(
    role: Role, history: RoleHistory, instances: Sequence[Instance], lease: Lease, now: Moment
) -> tuple[RoleState, str]:
    if lease.state is LeaseState.UNKNOWN:
        return RoleState.UNKNOWN, lease.reason
    is_held = lease.state is LeaseState.HELD
    is_dying = is_held and is_shim_finishing(history, lease)
    if is_held and not is_dying:
        return RoleState.STARTING, "the lease is held; no process to be seen yet"
    request, owner = history.pending_request, lease.owner
    owner_requested = (
        owner is not None and request is not None and request.identity == owner.identity
    )
    if (
        is_dying
        and owner_requested
        and request is not None
        and not is_owner_death_recorded(history, lease)
    ):
        return RoleState.STOPPING, f"{request.data.get('verb', 'end')} by {request.actor}"
    if history.parked is not None:
        return RoleState.PARKED, history.parked.reason
    decision = decide_restart(role, history, instances, lease, now)
    if decision.reason == FIRST_START_REASON:
        return RoleState.STOPPED, "not found; a daemon starts it"
    if decision.action in (RepairAction.WAIT, RepairAction.START):
        return RoleState.BACKOFF, decision.reason
    if is_dying and not is_owner_death_recorded(history, lease):
        return RoleState.STOPPED, SHIM_FINISHING_REASON
    if lease.state is LeaseState.ORPHANED:
        pids = ", ".join(map(str, lease.holders)) or "?"
        return RoleState.STOPPED, f"its lease is orphaned: held by leftover PID {pids}"
    if history.pending_request is not None:
        return RoleState.STOPPED, f"ended by {history.pending_request.actor}"
    return (
        RoleState.STOPPED,
        "not found" if history.last_death is None else history.last_death.reason,
    )
