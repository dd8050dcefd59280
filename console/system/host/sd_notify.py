"""Tell a service manager how we are: systemd's notification protocol, one datagram a message.

Source: sd_notify(3). Without `NOTIFY_SOCKET` in the environment nobody asked, and nothing is sent.
"""

from __future__ import annotations

import os
import socket

HOUR_S = 3600.0


def notify(*assignments: str) -> bool:
    """Send assignments such as `READY=1`; whether anybody listened. Never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # the abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(1.0)
            sender.sendto("\n".join(assignments).encode(), address)
    except OSError:
        return False
    return True


def ping_every_s() -> float | None:
    """Seconds between two pings that a service manager wants, half of its limit; None: none."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or int(limit) <= 0 or (meant_for and meant_for != str(os.getpid())):
        return None
    return min(int(limit) / 1e6 / 2, HOUR_S)
