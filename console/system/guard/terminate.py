"""Terminates a whole process tree, and no other process."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable

from console.core import secret_redaction
from console.core.model.processes import Identity, Instance
from console.core.model.roles import Lease, Owner
from console.core.processes.instances import ENV_MARKERS, lineage
from console.core.records import Record
from console.core.text.formatting import sanitize_text
from console.system import clock
from console.system.box import Box
from console.system.locks import lease
from console.system.processes import port_owners, process_table
from console.system.processes.process_table import ProcessError, ProcessGone, ProcessHandle
from console.system.processes.role_survey import Survey

_KILL_TIMEOUT_S = 5.0

FindMembers = Callable[[Iterable[Identity]], list[Identity]]
"""Returns the processes to end now. The argument is the processes found by earlier calls."""


class TerminationResult(Record, frozen=True):
    """The result of terminating a process tree."""

    how: str
    """`gracefully` or `killed after 10s`."""
    remaining_pids: tuple[int, ...] = ()
    """PIDs that are still running."""
    failure_reason: str = ""
    """Why processes are left; empty if none is."""


def termination_refusal(instance: Instance, box: Box) -> str | None:
    """Return why an instance may not be ended, or None. Only signal 0 is sent, as a test."""
    own_pids = _self_and_ancestor_pids(box)
    for identity in _find_members(instance, box, ()):
        if identity.pid in own_pids:
            return f"PID {identity.pid} is this very command, or has started it"
        with contextlib.suppress(ProcessGone):
            try:
                handle = ProcessHandle(identity)
                try:
                    handle.send_signal(0)
                finally:
                    handle.close()
            except ProcessGone:
                raise
            except ProcessError as error:
                return str(error)
    return None


def describe_processes(instance: Instance, box: Box) -> str:
    """Return the processes that ending the instance would end, with their command lines.

    The format is `PID 5 (python rpa_worker.py), …`.
    """
    seen = {one.identity: one for one in box.table.scan()}
    living = [seen[one] for one in _find_members(instance, box, ()) if one in seen]
    return ", ".join(
        f"PID {one.pid} ({sanitize_text(secret_redaction.redact_command_line(one.argv), 80)})"
        for one in living
    )


def _self_and_ancestor_pids(box: Box) -> set[int]:
    """Return the PIDs of this process and its ancestors, such as the operator's shell."""
    return {process.pid for process in lineage(os.getpid(), box.table.scan())}


def terminate_instance(instance: Instance, box: Box, grace_s: float) -> TerminationResult:
    """Send SIGTERM, wait `grace_s`, send SIGKILL, to the instance's whole process tree.

    The tree is read again before each signal.
    """
    return _terminate(lambda known: _find_members(instance, box, known), grace_s)


def terminate_leftovers(
    box: Box, role_name: str, dead_owner: Owner, excluded_pids: set[int], grace_s: float
) -> TerminationResult:
    """End the leftovers of a dead worker, which its environment markers identify.

    This process and its ancestors may carry the same markers, and are not ended.
    """

    def members(known: Iterable[Identity]) -> list[Identity]:
        """Return the processes with the dead worker's markers.

        A process that started before the worker cannot have inherited from it, so its environment
        is not read. Processes and their markers are read anew at each call.
        """
        processes = box.table.scan()
        candidates = (
            one.identity for one in processes if one.identity.ticks >= dead_owner.identity.ticks
        )
        marked = [
            one
            for one in candidates
            if _has_markers(one.pid, box.name, role_name, dead_owner.token)
        ]
        if not marked:
            return []
        spared_pids = {one.pid for one in lineage(os.getpid(), processes)} | excluded_pids
        leftovers = [one for one in marked if one.pid not in spared_pids]
        return _without_protected(
            leftovers, dead_owner.identity.pid, role_name, box, box.take_full_survey()
        )

    return _terminate(members, grace_s)


def terminate_lease_holders(
    box: Box,
    role_name: str,
    lease_name: str,
    slot_lease: Lease,
    grace_s: float,
    force: bool = False,
) -> TerminationResult:
    """End the leftovers that hold a lease whose owner is gone, if they carry its token.

    A holder without the token cannot be verified. Nothing is ended then, unless `force` is true.
    """
    token = slot_lease.owner.token if slot_lease.owner else None

    def verified(pid: int) -> bool:
        return force or _has_markers(pid, box.name, role_name, token)

    def members(known: Iterable[Identity]) -> list[Identity]:
        identities = (
            process_table.identify(pid)
            for pid in lease.lock_holder_pids(box.paths.lease(lease_name))
        )
        return [
            identity for identity in identities if identity is not None and verified(identity.pid)
        ]

    holders = lease.lock_holder_pids(box.paths.lease(lease_name))
    unverified = tuple(pid for pid in holders if not verified(pid))
    if unverified:
        return TerminationResult(
            "", unverified, f"it does not carry token {token}, so it cannot be verified"
        )
    if not holders and not lease.is_locked(box.paths.lease(lease_name)):
        return TerminationResult("gone already")
    if not holders:
        return TerminationResult("", (), "the holder cannot be seen: another user's process?")
    if own_pids := _self_and_ancestor_pids(box) & set(holders):
        return TerminationResult(
            "", tuple(own_pids), "that is this very command, or has started it"
        )
    return _terminate(members, grace_s)


def _find_members(instance: Instance, box: Box, known: Iterable[Identity]) -> list[Identity]:
    """Return the instance's tree as it is now.

    It consists of the instance's processes, the `known` ones, all their living descendants, and
    every process with the instance's environment markers. The markers identify children that were
    orphaned when the shim was killed, since a process inherits and keeps its environment. Processes
    of another role and holders of the queue's port are left out, with their descendants.
    """
    survey = box.take_full_survey()
    processes_by_pid, role, token = survey.forest.by_pid, instance.role, instance.token
    members = dict.fromkeys([*(one.identity for one in instance.processes), *known])
    for identity in tuple(members):
        current = processes_by_pid.get(identity.pid)
        if current is not None and current.identity == identity:
            members.update(
                dict.fromkeys(one.identity for one in survey.forest.descendants_of(current))
            )
    if token is not None:
        marked = (
            one for one in processes_by_pid.values() if _has_markers(one.pid, box.name, role, token)
        )
        members.update(dict.fromkeys(one.identity for one in marked))
    return _without_protected(members, instance.pid, role, box, survey)


def _without_protected(
    members: Collection[Identity], root_pid: int, role_name: str, box: Box, survey: Survey
) -> list[Identity]:
    pids = [identity.pid for identity in members]
    port_holders = port_owners.find_queue_port_holders(role_name, box.settings.queue.url, pids)
    return survey.without_protected(members, root_pid, role_name, port_holders)


def _has_markers(pid: int, box_name: str, role_name: str, token: int | None) -> bool:
    """Return True if the process inherited the environment of the worker with this token."""
    markers = dict(zip(ENV_MARKERS, (box_name, role_name, str(token)), strict=True))
    return process_table.read_environment(pid, set(markers)) == markers


def _terminate(find_members: FindMembers, grace_s: float) -> TerminationResult:
    handles: dict[Identity, ProcessHandle] = {}
    errors_by_pid: dict[int, str] = {}
    try:
        _send_signal(find_members(()), handles, errors_by_pid, signal.SIGTERM)
        survivors = process_table.wait_until_dead(list(handles.values()), grace_s)
        how = f"killed after {grace_s:g}s" if survivors else "gracefully"
        deadline = clock.tick() + _KILL_TIMEOUT_S
        while living := [
            identity for identity in find_members(handles) if process_table.is_alive(identity)
        ]:
            if clock.tick() > deadline or all(identity.pid in errors_by_pid for identity in living):
                return TerminationResult(
                    "",
                    tuple(identity.pid for identity in living),
                    _explain_survivors(living, errors_by_pid),
                )
            _send_signal(living, handles, errors_by_pid, signal.SIGKILL)
            process_table.wait_until_dead(
                [handles[identity] for identity in living if identity in handles], 0.5
            )
        return TerminationResult(how)
    finally:
        for handle in handles.values():
            handle.close()


def _send_signal(
    members: Iterable[Identity],
    handles: dict[Identity, ProcessHandle],
    errors_by_pid: dict[int, str],
    signum: signal.Signals,
) -> None:
    for identity in members:
        try:
            handle = handles.get(identity) or ProcessHandle(identity)
            handles[identity] = handle
            handle.send_signal(signum)
            handle.send_signal(signal.SIGCONT)  # a stopped process handles SIGTERM only then

        except ProcessGone:
            continue
        except ProcessError as error:
            errors_by_pid[identity.pid] = str(error)


def _explain_survivors(survivors: Iterable[Identity], errors_by_pid: dict[int, str]) -> str:
    reasons = []
    states = {one.pid: one.state for one in process_table.ProcessTable().scan()}
    for one in survivors:
        problem = "does not die, and the kernel does not say why"
        if states.get(one.pid) == "D":
            problem = "is in uninterruptible sleep: the kernel ends it when its I/O returns"
        reasons.append(errors_by_pid.get(one.pid) or f"PID {one.pid} {problem}")
    return "; ".join(reasons)
