"""The state machine of a role: what the ledger says of it, what may be done, what policy does.

Everything that decides about a role lives in this file; nothing here touches anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from console.core.frozen import frozen
from console.core.model import (
    Command,
    Event,
    Identity,
    Instance,
    Lease,
    LeaseState,
    Moment,
    Role,
    RoleState,
    Verb,
)
from console.core.processes.instances import surplus
from console.core.supervision.role_history import OUTSIDE, POLICY, Memory, deliberate, remember
from console.core.text.formatting import duration

__all__ = ["OUTSIDE", "POLICY", "Memory", "deliberate", "remember"]

WITNESSED = {"worker", "watchdog", "queue", "pipeline"}
"""The roles whose work, and not only their life, some monitor can see."""

# --- policy ---------------------------------------------------------------------------------


HELD_S = 1.0
"""How soon a lease that somebody holds without a worker to be seen is looked at again."""
RELEASE_S = 0.25
"""How soon a lease that a dying worker's shim still holds is looked at again."""


PATIENCE_S = 30.0
"""How long a caller waits for another one, where nothing in the role takes longer."""
SLACK_S = 5.0
"""What looking, locking and a shim's last words may take, for each instance."""
FIRST = "first start of this daemon"
"""Why policy starts a role that has never run here."""
ENDING = "it has just died; its shim records how"


class Repair(StrEnum):
    NOTHING = "nothing"
    WAIT = "wait"
    START = "start"
    PARK = "park"
    RESTART = "restart"


@frozen
class Decision:
    """What policy does about a role now, and why."""

    repair: Repair
    reason: str = ""
    at: Moment | None = None
    """When a waiting repair is due."""


def repair(
    role: Role, memory: Memory, instances: Sequence[Instance], lease: Lease, now: Moment
) -> Decision:
    """What policy does about a role that may have died, or has never been started."""
    if len(instances) >= role.count or not wanted(role, memory):
        return Decision(Repair.NOTHING)
    if not role.policy.enabled or not role.command:
        return Decision(Repair.NOTHING)
    if lease.state is LeaseState.UNKNOWN:
        return Decision(Repair.NOTHING, lease.reason)
    if memory.parked is not None:
        return Decision(Repair.NOTHING, memory.parked.reason)
    held = lease.state is LeaseState.HELD and not instances
    if held and not certified(memory, lease):
        why = ENDING if ending(memory, lease) else "the lease is held"
        return Decision(Repair.WAIT, why, now.plus(HELD_S))
    if not memory.known and memory.died is None:
        return Decision(Repair.START, FIRST)
    due = memory.died.moment.plus(_delay(role, memory)) if memory.died is not None else now
    if held and due.since(now) <= 0:
        due = now.plus(RELEASE_S)  # its shim is tidying up, and nobody tells when it lets go
    return _within_limit(role, memory, Repair.START, due, now)


def wanted(role: Role, memory: Memory) -> bool:
    """Whether the role should run: it has run and no person has ended it, or it never began."""
    return memory.wanted or (not memory.known and role.autostart and bool(role.command))


def patience_s(role: Role) -> float:
    """How long a caller waits for another one that is at work on this role.

    At least what a restart of all its instances takes, which end and settle one after the other.
    """
    return max(PATIENCE_S, SLACK_S + role.count * (role.grace_s + role.settle_s + SLACK_S))


def shake(role: Role, memory: Memory, instances: Sequence[Instance], now: Moment) -> Decision:
    """What policy does about a role that lives and is stalled."""
    policy, stalled = role.policy, memory.stalled
    if policy.stalled != "restart" or not policy.enabled or not role.command:
        return Decision(Repair.NOTHING)
    if stalled is None or stalled.identity is None or find(instances, stalled.identity) is None:
        return Decision(Repair.NOTHING)
    ending = [one.identity for one in (memory.asked, memory.died) if one is not None]
    if stalled.identity in ending or memory.parked is not None or not memory.wanted:
        return Decision(Repair.NOTHING)
    due = stalled.moment.plus(_delay(role, memory))
    return _within_limit(role, memory, Repair.RESTART, due, now)


def _delay(role: Role, memory: Memory) -> float:
    """The back-off: doubled with each death in a row."""
    doubled = 2.0 ** max(0, min(memory.streak, 30) - 1)
    return min(role.policy.backoff_s * doubled, role.policy.backoff_max_s)


def _within_limit(role: Role, memory: Memory, what: Repair, due: Moment, now: Moment) -> Decision:
    """A repair when it is due, unless there were too many."""
    limit, recent = role.policy.limit, recent_restarts(role, memory, now)
    if recent >= limit:
        window = duration(role.policy.window_s)
        return Decision(
            Repair.PARK, f"{recent} automatic restarts within {window}: a person must act"
        )
    reason = f"restart {recent + 1} of {limit}"
    return Decision(Repair.WAIT, reason, due) if due.since(now) > 0 else Decision(what, reason)


def recent_starts(role: Role, memory: Memory, now: Moment) -> int:
    """Automatic starts within the policy's window, those before a person took charge as well."""
    return sum(1 for moment in memory.automatic if now.since(moment) <= role.policy.window_s)


def recent_restarts(role: Role, memory: Memory, now: Moment) -> int:
    """Automatic attempts to start within the policy's window."""
    return sum(1 for moment in memory.restarts if now.since(moment) <= role.policy.window_s)


# --- permission -----------------------------------------------------------------------------


def permit(command: Command, role: Role, instances: Sequence[Instance], lease: Lease) -> str | None:
    """Why a command may not be carried out, or None when it may."""
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
        return _permit_target(command, command.target, instances)
    if command.token is not None and all(i.token != command.token for i in instances):
        tokens = ", ".join(str(instance.token) for instance in instances) or "none"
        return f"nothing runs under token {command.token} (now: {tokens})"
    return None


def _permit_target(command: Command, target: Identity, instances: Sequence[Instance]) -> str | None:
    instance = find(instances, target)
    if instance is None:
        others = ", ".join(str(other.pid) for other in instances) or "none"
        return f"PID {target.pid} as you saw it is no longer running (now: {others})"
    if command.token is not None and instance.token != command.token:
        return f"PID {target.pid} now runs under token {instance.token}, not {command.token}"
    return None


def find(instances: Sequence[Instance], identity: Identity) -> Instance | None:
    """The instance that this process is part of."""
    return next(
        (i for i in instances if any(p.identity == identity for p in i.processes)),
        None,
    )


def targets(command: Command, role: Role, instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """The instances that a command would end."""
    if command.verb is Verb.END_DUPLICATES:
        return surplus(role, instances)
    if command.verb is Verb.ENSURE:
        return surplus(role, instances) if len(instances) > role.count else ()
    if command.target is not None:
        instance = find(instances, command.target)
        return (instance,) if instance else ()
    return tuple(i for i in instances if command.token in (None, i.token))


# --- the state ------------------------------------------------------------------------------


def state(
    role: Role,
    memory: Memory,
    instances: Sequence[Instance],
    lease: Lease,
    worked: Moment | None,
    stalled: str | None,
    now: Moment,
) -> tuple[RoleState, str]:
    """The role's state and the reason for it.

    `worked`: when this role was last seen to do its work; `stalled`: evidence that it does none.
    """
    if not instances:
        return _absent(role, memory, instances, lease, now)
    if memory.asked is not None and find(instances, memory.asked.identity or _NOBODY):
        return RoleState.STOPPING, f"{memory.asked.data.get('verb', 'end')} by {memory.asked.actor}"
    stopped = [i for i in instances if i.root.state == "T"]
    if stopped:
        return RoleState.STALLED, f"PID {stopped[0].pid} is stopped (SIGSTOP)"
    if stalled:
        return RoleState.STALLED, stalled
    newest = max((i.root.started for i in instances), key=lambda moment: moment.tick)
    works = worked is not None and not newest.later_than(worked)
    if works and worked_since(memory.stalled, worked):
        return RoleState.READY, "seen to work"
    if min(instance.uptime(now) for instance in instances) < role.settle_s:
        return RoleState.STARTING, f"not yet {duration(role.settle_s)} old"
    if works:
        return RoleState.RUNNING, "alive; not yet seen to work again since it was stalled"
    return RoleState.RUNNING, "alive; not yet seen to work" if role.name in WITNESSED else "alive"


def worked_since(stalled: Event | None, worked: Moment | None) -> bool:
    """Whether it was seen to work after it was found to do none."""
    return stalled is None or (worked is not None and worked.later_than(stalled.moment))


_NOBODY = Identity(-1, -1, "")


def ending(memory: Memory, lease: Lease) -> bool:
    """Whether a held lease is the last owner's, which is dead: its own shim has not let go yet.

    A caller that is about to start a worker holds the lease itself, and has no shim.
    """
    owner = lease.owner
    if owner is None or owner.shim is None:
        return False
    return certified(memory, lease) or owner.shim.pid in lease.holders


def certified(memory: Memory, lease: Lease) -> bool:
    """The lease's owner is known to be dead: its shim only has to tidy up and let go."""
    if memory.died is None or lease.owner is None:
        return False
    return memory.died.identity == lease.owner.identity


def _absent(
    role: Role, memory: Memory, instances: Sequence[Instance], lease: Lease, now: Moment
) -> tuple[RoleState, str]:
    if lease.state is LeaseState.UNKNOWN:
        return RoleState.UNKNOWN, lease.reason
    held = lease.state is LeaseState.HELD
    dying = held and ending(memory, lease)
    if held and not dying:
        return RoleState.STARTING, "the lease is held; no process to be seen yet"
    asked, owner = memory.asked, lease.owner
    meant = owner is not None and asked is not None and asked.identity == owner.identity
    if dying and meant and asked is not None and not certified(memory, lease):
        return RoleState.STOPPING, f"{asked.data.get('verb', 'end')} by {asked.actor}"
    if memory.parked is not None:
        return RoleState.PARKED, memory.parked.reason
    decision = repair(role, memory, instances, lease, now)
    if decision.reason == FIRST:
        return RoleState.STOPPED, "not found; a daemon starts it"
    if decision.repair in (Repair.WAIT, Repair.START):
        return RoleState.BACKOFF, decision.reason
    if dying and not certified(memory, lease):
        return RoleState.STOPPED, ENDING
    if lease.state is LeaseState.ORPHANED:
        pids = ", ".join(map(str, lease.holders)) or "?"
        return RoleState.STOPPED, f"its lease is orphaned: held by leftover PID {pids}"
    if memory.asked is not None:
        return RoleState.STOPPED, f"ended by {memory.asked.actor}"
    return RoleState.STOPPED, "not found" if memory.died is None else memory.died.reason
