"""Which accounts and processes listen on the queue's port, by the kernel's socket tables.

See proc_net_tcp(5). The queue server belongs to no other role's tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import urlsplit

from console.core.frozen import frozen
from console.system.processes.procfs import read

QUEUE = "queue"
"""The role that may hold the queue's port."""
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_LISTENS = b"0A"
_LOOPBACK = re.compile(r"localhost|::1|127(\.\d{1,3}){3}")
MAX_TABLE_BYTES = 8_000_000


@frozen
class Listener:
    """One TCP socket that listens."""

    port: int
    uid: int
    inode: int


def port_holders(role: str, url: str, pids: Collection[int]) -> set[int]:
    """Those of a role's processes that hold the queue's port, unless the role is the queue itself.

    A watchdog that repairs the queue server starts it as its own child: neither the restart nor the
    death of the watchdog is to end it.
    """
    port = local_port(url) if role != QUEUE and pids else None
    return holding(pids, port) if port is not None else set()


def accounts(url: str) -> set[int]:
    """The accounts that listen where a loopback URL leads; empty for any other URL."""
    port = local_port(url)
    return {one.uid for one in listeners() if one.port == port}


def local_port(url: str) -> int | None:
    """The port of a loopback URL; None for any other URL."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not _LOOPBACK.fullmatch(host):
            return None
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def listeners() -> Iterator[Listener]:
    """Every TCP socket that listens, as far as `/proc` shows them."""
    for table in _TABLES:
        try:
            lines = read(table, MAX_TABLE_BYTES).splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTENS:
                port = int(fields[1].rpartition(b":")[2], 16)
                yield Listener(port, int(fields[7]), int(fields[9]))


def holding(pids: Iterable[int], port: int) -> set[int]:
    """Those of the processes that have a listening socket of the port open."""
    names = {f"socket:[{one.inode}]" for one in listeners() if one.port == port}
    return {pid for pid in pids if names and not names.isdisjoint(_open(pid))}


def _open(pid: int) -> set[str]:
    """The targets of a process's descriptors; empty where they cannot be read."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except OSError:
        pass
    return found
