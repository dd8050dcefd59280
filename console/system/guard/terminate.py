"""End a whole process tree, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterable

from console.core import secret_redaction
from console.core.frozen import frozen
from console.core.model import Identity, Instance, Lease, Owner
from console.core.processes.instances import MARKS, lineage
from console.core.text.formatting import visible
from console.system import clock
from console.system.box import Box
from console.system.locks import lease
from console.system.processes import port_owners, process_table
from console.system.processes.process_table import Gone, Handle, ProcessError
from console.system.processes.role_survey import Survey

_AFTER_KILL_S = 5.0

Members = Callable[[Iterable[Identity]], list[Identity]]
"""Who is to be ended, as it stands now; what was found before is found again while it lives."""


@frozen
class Ending:
    """What came of ending a tree."""

    how: str
    """`gracefully` or `killed after 10s`."""
    left: tuple[int, ...] = ()
    """PIDs that are still there."""
    why: str = ""
    """Why they are; empty when nothing is left."""


def forbidden(instance: Instance, box: Box) -> str | None:
    """Why we may not end an instance, told before anything is signalled; None when we may."""
    own = _own_pids(box)
    for identity in _members(instance, box, ()):
        if identity.pid in own:
            return f"PID {identity.pid} is this very command, or has started it"
        with contextlib.suppress(Gone):
            try:
                handle = Handle(identity)
                try:
                    handle.send(0)
                finally:
                    handle.close()
            except Gone:
                raise
            except ProcessError as error:
                return str(error)
    return None


def names(instance: Instance, box: Box) -> str:
    """The processes that an end of the instance ends now: `PID 5 (python rpa_worker.py), …`."""
    seen = {one.identity: one for one in box.table.look()}
    living = [seen[one] for one in _members(instance, box, ()) if one in seen]
    return ", ".join(
        f"PID {one.pid} ({visible(secret_redaction.command_line(one.argv), 80)})" for one in living
    )


def _own_pids(box: Box) -> set[int]:
    """Ourselves and our ancestors: the shell or connection of the person who asks."""
    return {one.pid for one in lineage(os.getpid(), box.table.look())}


def end(instance: Instance, box: Box, grace_s: float) -> Ending:
    """Terminate, wait `grace_s`, kill: the instance's whole tree, wherever it has moved."""
    return _end(lambda known: _members(instance, box, known), grace_s)


def end_strays(box: Box, role: str, dead: Owner, spare: set[int], grace_s: float) -> Ending:
    """End what a dead worker left behind, known by its marks; we may be such a one ourselves."""

    def members(known: Iterable[Identity]) -> list[Identity]:
        """Nobody inherits from a process that starts later: most need not be asked.

        Who is there is always read anew, and so are the marks; what they run does not matter.
        """
        seen = box.table.look()
        later = (one.identity for one in seen if one.identity.ticks >= dead.identity.ticks)
        marked = [one for one in later if _carries(one.pid, box.name, role, dead.token)]
        if not marked:
            return []
        own = {one.pid for one in lineage(os.getpid(), seen)} | spare
        ours = [one for one in marked if one.pid not in own]
        return _kept(ours, dead.identity.pid, role, box, box.survey())

    return _end(members, grace_s)


def end_holders(
    box: Box, role: str, name: str, held: Lease, grace_s: float, force: bool = False
) -> Ending:
    """End the leftovers that hold the lease `name` whose owner is gone, and carry its token.

    A holder without the token cannot be verified, and stays unless a person insists.
    """
    token = held.owner.token if held.owner else None

    def verified(pid: int) -> bool:
        return force or _carries(pid, box.name, role, token)

    def members(known: Iterable[Identity]) -> list[Identity]:
        seen = (process_table.identify(pid) for pid in lease.holders(box.paths.lease(name)))
        return [one for one in seen if one is not None and verified(one.pid)]

    holders = lease.holders(box.paths.lease(name))
    strangers = tuple(pid for pid in holders if not verified(pid))
    if strangers:
        return Ending("", strangers, f"it does not carry token {token}, so it cannot be verified")
    if not holders and not lease.held(box.paths.lease(name)):
        return Ending("gone already")
    if not holders:
        return Ending("", (), "the holder cannot be seen: another user's process?")
    if own := _own_pids(box) & set(holders):
        return Ending("", tuple(own), "that is this very command, or has started it")
    return _end(members, grace_s)


def _members(instance: Instance, box: Box, known: Iterable[Identity]) -> list[Identity]:
    """The tree as it is now: descendants of those that are known, and what carries its token.

    The second finds children that were orphaned when the shim was killed: the environment of a
    process is inherited and kept. What belongs to another role, or holds the queue's port, is left
    out with all below it.
    """
    survey = box.survey()
    seen, role, token = survey.kinship.by_pid, instance.role, instance.token
    members = dict.fromkeys([*(one.identity for one in instance.processes), *known])
    for identity in tuple(members):
        current = seen.get(identity.pid)
        if current is not None and current.identity == identity:
            members.update(dict.fromkeys(one.identity for one in survey.kinship.tree(current)))
    if token is not None:
        marked = (one for one in seen.values() if _carries(one.pid, box.name, role, token))
        members.update(dict.fromkeys(one.identity for one in marked))
    return _kept(members, instance.pid, role, box, survey)


def _kept(
    members: Collection[Identity], root: int, role: str, box: Box, survey: Survey
) -> list[Identity]:
    pids = [one.pid for one in members]
    holders = port_owners.port_holders(role, box.settings.queue.url, pids)
    return survey.kept(members, root, role, holders)


def _carries(pid: int, box: str, role: str, token: int | None) -> bool:
    """Whether a process inherited the environment of the worker that ran under this token."""
    marks = dict(zip(MARKS, (box, role, str(token)), strict=True))
    return process_table.environment(pid, set(marks)) == marks


def _end(members: Members, grace_s: float) -> Ending:
    handles: dict[Identity, Handle] = {}
    refused: dict[int, str] = {}
    try:
        _signal(members(()), handles, refused, signal.SIGTERM)
        late = process_table.wait_dead(list(handles.values()), grace_s)
        how = f"killed after {grace_s:g}s" if late else "gracefully"
        deadline = clock.tick() + _AFTER_KILL_S
        while living := [one for one in members(handles) if process_table.alive(one)]:
            if clock.tick() > deadline or all(one.pid in refused for one in living):
                return Ending("", tuple(one.pid for one in living), _why(living, refused))
            _signal(living, handles, refused, signal.SIGKILL)
            process_table.wait_dead([handles[one] for one in living if one in handles], 0.5)
        return Ending(how)
    finally:
        for handle in handles.values():
            handle.close()


def _signal(
    members: Iterable[Identity],
    handles: dict[Identity, Handle],
    refused: dict[int, str],
    number: signal.Signals,
) -> None:
    for identity in members:
        try:
            handle = handles.get(identity) or Handle(identity)
            handles[identity] = handle
            handle.send(number)
            handle.send(signal.SIGCONT)  # a stopped process hears SIGTERM only then
        except Gone:
            continue
        except ProcessError as error:
            refused[identity.pid] = str(error)


def _why(left: Iterable[Identity], refused: dict[int, str]) -> str:
    reasons = []
    states = {one.pid: one.state for one in process_table.Table().look()}
    for one in left:
        does = "does not die, and the kernel does not say why"
        if states.get(one.pid) == "D":
            does = "is in uninterruptible sleep: the kernel ends it when its I/O returns"
        reasons.append(refused.get(one.pid) or f"PID {one.pid} {does}")
    return "; ".join(reasons)
