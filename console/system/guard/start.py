"""Starting one instance: take the lease, look again, hand all to a shim."""

from __future__ import annotations

import contextlib
import os
import time

from console.core.exit_codes import FAILURE
from console.core.model import Command, EventKind, Lease, Outcome, Owner, Role, Verb
from console.core.text.formatting import visible
from console.system import clock
from console.system.box import Box, Observation, slot_name
from console.system.guard import lifecycle_events, shim_launcher, terminate
from console.system.guard.stop import Refused
from console.system.locks import lease, start_lock
from console.system.locks.ofd_lock import Grant
from console.system.processes import process_table
from console.system.processes.process_table import ProcessError
from console.system.store import fencing_tokens

_POLL_S = 0.02


def start(box: Box, command: Command, role: Role, slot: int) -> Outcome | None:
    """Start an instance in a slot; None when there is a reason to look again.

    The start lock is held until the worker can be seen, so that no start from another state
    directory looks in between. Raises Refused, LeaseError, ProcessError.
    """
    if reason := _refusal(role):
        raise Refused(reason)
    starting = start_lock.take(role)
    if starting is None:
        time.sleep(_POLL_S)
        return None
    try:
        return _start(box, command, role, slot, starting)
    finally:
        starting.close()


def _refusal(role: Role) -> str | None:
    return (
        start_lock.unusable(role)
        or shim_launcher.foreign_user(role)
        or shim_launcher.unanswering(role)
    )


def _start(box: Box, command: Command, role: Role, slot: int, starting: Grant) -> Outcome | None:
    name, paths = slot_name(role, slot), box.paths
    grant = lease.take(paths.lease(name))
    if grant is None:
        return None
    try:
        # From here to the claim nobody else can start one; what was seen before is too old.
        seen = box.observe([role], full=True, ours=slot)[0]
        before = seen.leases[slot]
        if len(seen.instances) >= role.count or occupied(before, seen):
            return None
        _clear(box, role, before.owner, seen)
        token = fencing_tokens.grant(paths, box.store, role.name)
        own = process_table.identify(os.getpid())
        if own is None:
            raise ProcessError("the process table does not show ourselves")
        claim = Owner(own, token, clock.now(), None, command.actor)
        with contextlib.suppress(OSError):  # information, not the guarantee
            lease.write_owner(paths.owner(name), claim, paths.lease(name))
        locks = (grant.descriptor, starting.descriptor)
        report = shim_launcher.launch(box, role, slot, locks, token, command.actor)
    finally:
        grant.close()
    return _record(box, command, role, token, report)


def occupied(held: Lease, seen: Observation) -> bool:
    """Whether a slot's worker lives without its lock: it closed it, and its shim was killed."""
    return held.owner is not None and any(i.token == held.owner.token for i in seen.instances)


def _clear(box: Box, role: Role, before: Owner | None, seen: Observation) -> None:
    """Bury the last owner if nobody has, and end what it left behind without the lock."""
    if before is None:
        return
    lifecycle_events.bury(box, role, before)
    spare = {pid for instance in seen.instances for pid in instance.pids}
    strays = terminate.end_strays(box, role.name, before, spare, role.grace_s)
    if strays.why:
        raise Refused(f"a leftover of token {before.token} is still there: {strays.why}")


def _record(
    box: Box, command: Command, role: Role, token: int, report: shim_launcher.Report
) -> Outcome | None:
    data: dict[str, object] = {"verb": Verb.ENSURE.value}
    about = (report.identity, token, data)
    if report.identity is not None and report.settled:
        box.tell(EventKind.STARTED, role.name, command.actor, "", *about)
        message = f"{role.name}: started: PID {report.identity.pid}, token {token}"
        return Outcome(True, message, 0, report.identity.pid, changed=True)
    if not report.failed:
        return None  # slow, or its shim was killed: the next look tells
    reason = visible(report.reason, 500)
    data["killed"] = report.killed
    box.tell(EventKind.FAILED, role.name, command.actor, reason, *about)
    return Outcome(False, f"{role.name}: not started: {reason}", FAILURE)
