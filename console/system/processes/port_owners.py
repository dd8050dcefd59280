"""Finds the accounts and processes that listen on the queue's port.

The source is the kernel's socket tables, see proc_net_tcp(5). The queue server is never part of
another role's process tree.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from urllib.parse import urlsplit

from console.core.records import Record
from console.system.processes.procfs import read_proc_file

QUEUE_ROLE = "queue"
"""Role whose processes may hold the queue's port."""
_SOCKET_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
_TCP_LISTEN = b"0A"
_LOOPBACK_PATTERN = re.compile(r"localhost|::1|127(\.\d{1,3}){3}")
MAX_TABLE_BYTES = 8_000_000


class ListeningSocket(Record, frozen=True):
    """A listening TCP socket."""

    port: int
    uid: int
    inode: int


def find_queue_port_holders(role_name: str, url: str, pids: Collection[int]) -> set[int]:
    """Return the PIDs of a role's processes that hold the queue's port.

    The set is empty if the role is the queue itself. A watchdog that repairs the queue server
    starts it as its own child. Neither a restart nor the death of the watchdog may end the server.
    """
    port = loopback_port(url) if role_name != QUEUE_ROLE and pids else None
    return find_port_holders(pids, port) if port is not None else set()


def find_listening_uids(url: str) -> set[int]:
    """Return the user ids that listen on a loopback URL's port; empty for any other URL."""
    port = loopback_port(url)
    return {socket.uid for socket in read_listening_sockets() if socket.port == port}


def loopback_port(url: str) -> int | None:
    """Return the port of a loopback URL, or None for any other URL."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not _LOOPBACK_PATTERN.fullmatch(host):
            return None
        return parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def read_listening_sockets() -> Iterator[ListeningSocket]:
    """Yield every listening TCP socket that `/proc` shows. Skip tables that cannot be read."""
    for table in _SOCKET_TABLES:
        try:
            lines = read_proc_file(table, MAX_TABLE_BYTES).splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _TCP_LISTEN:
                port = int(fields[1].rpartition(b":")[2], 16)
                yield ListeningSocket(port, int(fields[7]), int(fields[9]))


def find_port_holders(pids: Iterable[int], port: int) -> set[int]:
    """Return the PIDs of the processes that have a listening socket of this port open."""
    names = {
        f"socket:[{socket.inode}]" for socket in read_listening_sockets() if socket.port == port
    }
    return {pid for pid in pids if names and not names.isdisjoint(_read_open_files(pid))}


def _read_open_files(pid: int) -> set[str]:
    """Return the link targets of a process's descriptors, as far as they can be read."""

    targets = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            targets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except OSError:
        pass
    return targets
