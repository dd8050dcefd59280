"""Whose process listens on a port of this machine, by the kernel's table of sockets."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENS = "0A"
_MAX_BYTES = 8_000_000


def accounts(url: str) -> set[int]:
    """The accounts that listen where a loopback URL leads; empty for any other URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        if host != "localhost" and not ip_address(host).is_loopback:
            return set()
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return set()
    return {uid for listened, uid in _listeners() if listened == port}


def _listeners() -> Iterator[tuple[int, int]]:
    """Port and account of each listening TCP socket, as far as `/proc` tells."""
    for table in _TABLES:
        try:
            with open(table, encoding="ascii") as file:
                lines = file.read(_MAX_BYTES).splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 7 and fields[3] == _LISTENS:
                yield int(fields[1].rpartition(":")[2], 16), int(fields[7])
