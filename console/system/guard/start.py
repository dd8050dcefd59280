"""Starts one instance: takes the lease, observes again, and hands the lease to a shim."""

from __future__ import annotations

import contextlib
import os
import time

from console.core.exit_codes import FAILURE
from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import EventKind
from console.core.model.roles import Lease, Owner, Role
from console.core.text.formatting import sanitize_text
from console.system import clock
from console.system.box import Box, EventFields, Observation, slot_name
from console.system.guard import lifecycle_events, shim_launcher, terminate
from console.system.guard.stop import CommandRefused
from console.system.locks import lease, start_lock
from console.system.locks.ofd_lock import HeldLock
from console.system.processes import process_table
from console.system.processes.process_table import ProcessError
from console.system.store import fencing_tokens

_POLL_INTERVAL_S = 0.02


def start_instance(box: Box, command: Command, role: Role, slot: int) -> Outcome | None:
    """Start an instance in a slot. Return None if the caller must observe the role again.

    The caller holds the start lock until the start has settled or failed, and the child holds it
    until it executes the worker's program. No start from another state directory observes in
    between, not even if the caller is killed. Raises CommandRefused, LockFileError, ProcessError.
    """
    if reason := _start_refusal(role):
        raise CommandRefused(reason)
    held_start_lock = start_lock.acquire(role)
    if held_start_lock is None:
        time.sleep(_POLL_INTERVAL_S)
        return None
    try:
        return _start_under_lock(box, command, role, slot, held_start_lock)
    finally:
        held_start_lock.close()


def _start_refusal(role: Role) -> str | None:
    return (
        start_lock.scope_refusal(role)
        or shim_launcher.account_error(role)
        or shim_launcher.hanging_directory_error(role)
    )


def _start_under_lock(
    box: Box, command: Command, role: Role, slot: int, held_start_lock: HeldLock
) -> Outcome | None:
    name, paths = slot_name(role, slot), box.paths
    held_lease = lease.acquire(paths.lease(name))
    if held_lease is None:
        return None
    try:
        # While the lease is held, no other process can start a worker in this slot. The caller's
        # observation was taken before that, so observe again.
        observation = box.observe([role], full=True, own_slot=slot)[0]
        slot_lease = observation.leases[slot]
        if len(observation.instances) >= role.count or is_slot_in_use(slot_lease, observation):
            return None
        _clean_up_previous_owner(box, role, slot_lease.owner, observation)
        token = fencing_tokens.next_token(paths, box.store, role.name)
        own_identity = process_table.identify(os.getpid())
        if own_identity is None:
            raise ProcessError("the process table does not show ourselves")
        claim = Owner(own_identity, token, clock.now(), None, command.actor)
        with contextlib.suppress(OSError):  # the record is informative; the lock is the guarantee
            lease.write_owner(paths.owner(name), claim, paths.lease(name))
        lock_fds = (held_lease.descriptor, held_start_lock.descriptor)
        result = shim_launcher.launch_shim(box, role, slot, lock_fds, token, command.actor)
    finally:
        held_lease.close()
    return _record_result(box, command, role, token, result)


def is_slot_in_use(slot_lease: Lease, observation: Observation) -> bool:
    """Return True if the slot's worker is alive although its lease is free.

    That worker has closed its descriptors, and its shim was killed.
    """
    return slot_lease.owner is not None and any(
        instance.token == slot_lease.owner.token for instance in observation.instances
    )


def _clean_up_previous_owner(
    box: Box, role: Role, previous_owner: Owner | None, observation: Observation
) -> None:
    """Record the previous owner's death, and end its leftovers that do not hold the lock.

    Raises CommandRefused if a leftover survives.
    """
    if previous_owner is None:
        return
    lifecycle_events.record_uncertified_death(box, role, previous_owner)
    excluded_pids = {pid for instance in observation.instances for pid in instance.pids}
    result = terminate.terminate_leftovers(
        box, role.name, previous_owner, excluded_pids, role.grace_s
    )
    if result.failure_reason:
        raise CommandRefused(
            f"a leftover of token {previous_owner.token} is still there: {result.failure_reason}"
        )


def _record_result(
    box: Box, command: Command, role: Role, token: int, result: shim_launcher.StartResult
) -> Outcome | None:
    data: dict[str, object] = {"verb": Verb.ENSURE.value}
    fields: EventFields = {
        "role": role.name,
        "actor": command.actor,
        "identity": result.identity,
        "token": token,
        "data": data,
    }
    if result.identity is not None and result.settled:
        box.record_or_queue(EventKind.STARTED, **fields)
        message = f"{role.name}: started: PID {result.identity.pid}, token {token}"
        return Outcome(True, message, 0, result.identity.pid, changed=True)
    if not result.failed:
        return None  # slow, or its shim was killed: the next observation shows which
    reason = sanitize_text(result.reason, 500)
    data["killed"] = result.killed
    fields["reason"] = reason
    box.record_or_queue(EventKind.FAILED, **fields)
    return Outcome(False, f"{role.name}: not started: {reason}", FAILURE)
