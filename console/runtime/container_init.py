"""Duties of PID 1 in a container: reaps orphaned zombies, and stops the workers before it exits.

The kernel kills every process of a PID namespace when its PID 1 exits. The workers are therefore
stopped first, each with its grace period. Outside a container, workers keep running when the daemon
exits.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from console.core.model.processes import Identity
from console.core.model.roles import LeaseState, Role
from console.runtime.timers import align_delay
from console.system import clock
from console.system.box import Box, slot_name
from console.system.locks import lease
from console.system.locks.lease import is_shim
from console.system.processes import procfs
from console.system.processes.pidfd import ProcessHandle
from console.system.processes.procfs import ProcessError
from console.system.threads import run_in_thread

REAP_INTERVAL_S = 5.0
"""Interval between checks. A zombie that is older than this has no thread of this process waiting
for it, as such a thread reaps its child at once."""
POLL_INTERVAL_S, GRACE_MARGIN_S = 0.05, 5.0


def is_init() -> bool:
    """Return True if this process is PID 1 of its PID namespace."""
    return os.getpid() == 1


async def reap_zombies() -> None:
    """Reap inherited zombie children until cancelled."""
    previous: frozenset[int] = frozenset()
    while True:
        await asyncio.sleep(align_delay(REAP_INTERVAL_S))
        zombies = await run_in_thread(zombie_children)
        _reap(zombies & previous)  # a thread may be about to reap a new zombie
        previous = zombies


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def zombie_children() -> frozenset[int]:
    """Return the PIDs of this process's zombie children."""
    own, pids = os.getpid(), set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        stat = procfs.read_stat(pid)
        if stat is not None and stat[:2] == ("Z", own):
            pids.add(pid)
    return frozenset(pids)


def terminate_workers(box: Box) -> list[str]:
    """Send SIGTERM to the shim of every running worker, and wait until the leases are free.

    Waits at most for the longest grace period and `GRACE_MARGIN_S`. Returns the name of the role
    for each shim. A shim that receives SIGTERM stops its worker and certifies its death.
    """
    role_names, longest_grace_s = [], 0.0
    for role in box.roles:
        for identity in _running_shims(box, role):
            with suppress(ProcessError):
                handle = ProcessHandle(identity)
                try:
                    handle.send_signal(signal.SIGTERM)
                finally:
                    handle.close()
                role_names.append(role.name)
                longest_grace_s = max(longest_grace_s, role.grace_s)
    deadline = clock.tick() + longest_grace_s + GRACE_MARGIN_S
    while role_names and clock.tick() < deadline and any(_leases_held(box)):
        _reap(zombie_children())
        time.sleep(POLL_INTERVAL_S)
    return role_names


def _running_shims(box: Box, role: Role) -> Iterator[Identity]:
    for slot in range(max(1, role.count)):
        name = slot_name(role, slot)
        role_lease = lease.read_lease(box.paths.lease(name), box.paths.owner(name))
        shim = role_lease.owner.shim if role_lease.owner is not None else None
        if (
            role_lease.state is not LeaseState.FREE
            and shim
            and procfs.is_alive(shim)
            and is_shim(shim.pid)
        ):
            yield shim


def _leases_held(box: Box) -> Iterator[bool]:
    for role in box.roles:
        for slot in range(max(1, role.count)):
            yield lease.is_locked(box.paths.lease(slot_name(role, slot)))
