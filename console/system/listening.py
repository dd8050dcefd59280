"""Which processes hold the queue's port: they belong to no other role's tree."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from console.system.proc import read

QUEUE = "queue"
"""The role that may hold the queue's port."""
_LISTENS = b"0A"
_LOCAL = ("localhost", "::1", "127.")
MAX_TABLE_BYTES = 4_000_000


def port_holders(role: str, url: str, pids: Collection[int]) -> set[int]:
    """Those of a role's processes that hold the queue's port, unless the role is the queue itself.

    A watchdog that repairs the queue server starts it as its own child: neither the restart nor the
    death of the watchdog is to end it.
    """
    port = local_port(url) if role != QUEUE and pids else None
    sockets = listeners(port) if port is not None else set()
    return holding(pids, sockets) if sockets else set()


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
