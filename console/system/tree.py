"""End a whole process tree, and nothing else."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from console.core.instances import MARKS, tree
from console.core.model import Identity, Instance, Lease, Process
from console.system import clock, lease, process
from console.system.box import Box
from console.system.process import Gone, Handle, ProcessError

_ROUNDS = 20
_AFTER_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of ending a tree."""

    how: str
    """`gracefully` or `killed after 10s`."""
    left: tuple[int, ...] = ()
    """PIDs that are still there."""
    why: str = ""


def end(instance: Instance, box: Box, grace_s: float) -> Ending:
    """Terminate, wait `grace_s`, kill: the instance's whole tree, wherever it has moved."""
    return _end(lambda: _members(instance, box), grace_s)


def end_holders(box: Box, role: str, name: str, held: Lease, grace_s: float) -> Ending:
    """End the leftovers that hold the lease `name` whose owner is gone, and carry its token.

    A holder without the token cannot be verified, and stays.
    """
    token = held.owner.token if held.owner else None

    def members() -> list[Identity]:
        seen = (process.identify(pid) for pid in lease.holders(box.paths.lease(name)))
        return [one for one in seen if one is not None and _carries(one.pid, box.name, role, token)]

    return _end(members, grace_s)


def _members(instance: Instance, box: Box) -> list[Identity]:
    """The tree as it is now: descendants of its root, and whoever carries its token.

    The second finds children that were orphaned when the shim was killed: the environment of a
    process is inherited and kept.
    """
    seen = {one.pid: one for one in box.table.look(full=True)}
    children: dict[int, list[Process]] = {}
    for one in seen.values():
        children.setdefault(one.ppid, []).append(one)
    members = dict.fromkeys(one.identity for one in instance.processes)
    for known in tuple(members):
        current = seen.get(known.pid)
        if current is not None and current.identity == known:
            members.update(dict.fromkeys(one.identity for one in tree(current, children)))
    role, token = instance.role, instance.token
    if token is not None:
        marked = (one for one in seen.values() if _carries(one.pid, box.name, role, token))
        members.update(dict.fromkeys(one.identity for one in marked))
    return [one for one in members if one.pid != os.getpid()]


def _carries(pid: int, box: str, role: str, token: int | None) -> bool:
    """Whether a process inherited the environment of the worker that ran under this token."""
    marks = dict(zip(MARKS, (box, role, str(token)), strict=True))
    return process.environment(pid, set(marks)) == marks


def _end(members: Callable[[], list[Identity]], grace_s: float) -> Ending:
    handles: dict[Identity, Handle] = {}
    refused: dict[int, str] = {}
    try:
        _signal(members(), handles, refused, signal.SIGTERM)
        living = process.wait_dead(list(handles.values()), grace_s)
        killed = bool(living)
        deadline = clock.tick() + _AFTER_KILL_S
        for _ in range(_ROUNDS):
            late = [one for one in members() if process.alive(one)]
            if not late:
                return Ending(f"killed after {grace_s:g}s" if killed else "gracefully")
            killed = True
            _signal(late, handles, refused, signal.SIGKILL)
            process.wait_dead([handles[one] for one in late if one in handles], 0.5)
            if clock.tick() > deadline or all(one.pid in refused for one in late):
                break
        left = [one for one in members() if process.alive(one)]
        return Ending("killed", tuple(one.pid for one in left), _why(left, refused))
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
        with contextlib.suppress(Gone):
            handle = handles.get(identity) or Handle(identity)
            handles[identity] = handle
            try:
                handle.send(number)
                handle.send(signal.SIGCONT)  # a stopped process hears SIGTERM only then
            except Gone:
                raise
            except ProcessError as error:
                refused[identity.pid] = str(error)


def _why(left: Iterable[Identity], refused: dict[int, str]) -> str:
    reasons = []
    for one in left:
        state = {seen.pid: seen.state for seen in process.Table().look()}.get(one.pid, "?")
        stuck = "in uninterruptible sleep: the kernel ends it when its I/O returns"
        reasons.append(refused.get(one.pid) or f"PID {one.pid} {stuck if state == 'D' else ''}")
    return "; ".join(reasons)
