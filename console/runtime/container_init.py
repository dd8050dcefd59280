"""What PID 1 of a container owes: it reaps what nobody waits for, and passes its end on.

The kernel kills every process of a PID namespace when its PID 1 ends. So the workers are ended
first, each with its grace period. Elsewhere they live on when the daemon ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from console.core.model import Identity, LeaseState, Role
from console.runtime.timers import on_the_second
from console.system import clock
from console.system.box import Box, slot_name
from console.system.locks import lease
from console.system.locks.lease import is_shim
from console.system.processes import procfs
from console.system.processes.pidfd import Handle
from console.system.processes.procfs import ProcessError
from console.system.threads import aside

REAP_S = 5.0
"""A zombie that is older than this is waited for by no thread of ours: those wait at once."""
POLL_S, SLACK_S = 0.05, 5.0


def is_init() -> bool:
    """Whether this process is PID 1 of its namespace."""
    return os.getpid() == 1


async def reap() -> None:
    """Until cancelled: collect the dead that were left to us."""
    before: frozenset[int] = frozenset()
    while True:
        await asyncio.sleep(on_the_second(REAP_S))
        dead = await aside(zombies)
        _collect(dead & before)  # not those that something here is about to wait for
        before = dead


def _collect(dead: Iterable[int]) -> None:
    for pid in dead:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def zombies() -> frozenset[int]:
    """Our dead children."""
    own, found = os.getpid(), set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        stat = procfs.stat_of(pid)
        if stat is not None and stat[:2] == ("Z", own):
            found.add(pid)
    return frozenset(found)


def pass_on(box: Box) -> list[str]:
    """Have every leased worker end, and wait: for its grace period and what its shim may take.

    The names of the roles. A shim that gets SIGTERM ends its worker and certifies the death.
    """
    ended, longest = [], 0.0
    for role in box.roles:
        for identity in _shims(box, role):
            with suppress(ProcessError):
                handle = Handle(identity)
                try:
                    handle.send(signal.SIGTERM)
                finally:
                    handle.close()
                ended.append(role.name)
                longest = max(longest, role.grace_s)
    deadline = clock.tick() + longest + SLACK_S
    while ended and clock.tick() < deadline and any(_held(box)):
        _collect(zombies())
        time.sleep(POLL_S)
    return ended


def _shims(box: Box, role: Role) -> Iterator[Identity]:
    for slot in range(max(1, role.count)):
        name = slot_name(role, slot)
        held = lease.look(box.paths.lease(name), box.paths.owner(name))
        shim = held.owner.shim if held.owner is not None else None
        if held.state is not LeaseState.FREE and shim and procfs.alive(shim) and is_shim(shim.pid):
            yield shim


def _held(box: Box) -> Iterator[bool]:
    for role in box.roles:
        for slot in range(max(1, role.count)):
            yield lease.held(box.paths.lease(slot_name(role, slot)))
