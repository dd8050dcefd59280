"""Sends the daemon's state to a service manager: systemd's protocol, one datagram per message.

Source: sd_notify(3). Without `NOTIFY_SOCKET` in the environment, nothing is sent.
"""

from __future__ import annotations

import os
import socket

MAX_PING_INTERVAL_S = 3600.0


def notify(*assignments: str) -> bool:
    """Send assignments such as `READY=1`. Return True if they were sent. Never raises."""
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


def watchdog_ping_interval_s() -> float | None:
    """Return the seconds between two watchdog pings, or None if none are wanted.

    The interval is half of the service manager's timeout, and at most `MAX_PING_INTERVAL_S`.
    """
    timeout_us = os.environ.get("WATCHDOG_USEC", "")
    target_pid = os.environ.get("WATCHDOG_PID", "")
    if (
        not timeout_us.isdigit()
        or int(timeout_us) <= 0
        or (target_pid and target_pid != str(os.getpid()))
    ):
        return None
    return min(int(timeout_us) / 1e6 / 2, MAX_PING_INTERVAL_S)
