"""Which processes hold the queue's port: they belong to no other role's tree."""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import urlsplit

from console.core.frozen import replace
from console.core.model import Instance, Role
from console.system.proc import read

QUEUE = "queue"
"""The role that may hold the queue's port."""
_LISTENS = b"0A"
_LOCAL = ("localhost", "::1", "127.")
MAX_TABLE_BYTES = 4_000_000


def outside_queue(role: Role, found: list[Instance], url: str) -> list[Instance]:
    """The instances without the processes that hold the queue's port.

    A watchdog that repairs the queue server starts it as its own child: neither the restart nor the
    death of the watchdog is to end it. An instance whose root holds the port is the queue itself.
    """
    several = [one for one in found if len(one.pids) > 1]
    if role.name == QUEUE or not several:
        return found
    port = local_port(url)
    sockets = listeners(port) if port is not None else set()
    return [_without(one, sockets) if sockets else one for one in found]


def _without(instance: Instance, sockets: set[str]) -> Instance:
    holders = holding(instance.pids, sockets)
    if not holders or instance.pid in holders:
        return instance
    parents = {one.pid: one.ppid for one in instance.processes}
    kept = tuple(one for one in instance.processes if not _below(one.pid, holders, parents))
    return replace(instance, processes=kept)


def _below(pid: int, holders: set[int], parents: dict[int, int]) -> bool:
    """Whether a process holds the port, or descends from one that does."""
    for _ in range(len(parents)):
        if pid in holders:
            return True
        if pid not in parents:
            return False
        pid = parents[pid]
    return False


def local_port(url: str) -> int | None:
    """The port of a queue on this machine; None where it is elsewhere."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    if not host.startswith(_LOCAL):
        return None
    return port or {"http": 80, "https": 443}.get(parts.scheme)


def listeners(port: int) -> set[str]:
    """The sockets that listen on a TCP port, as `/proc/PID/fd` names them; see proc_net_tcp(5)."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = read(f"/proc/self/net/{table}", MAX_TABLE_BYTES).splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) < 10 or fields[3] != _LISTENS:
                continue
            if int(fields[1].rpartition(b":")[2], 16) == port:
                found.add(f"socket:[{fields[9].decode()}]")
    return found


def holding(pids: Iterable[int], sockets: set[str]) -> set[int]:
    """Those of the processes that have one of the sockets open, as far as they can be read."""
    return {pid for pid in pids if not sockets.isdisjoint(_open(pid))}


def _open(pid: int) -> set[str]:
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except OSError:
        pass
    return found
