"""The monitors' own daemon as a role, so that the guard starts and ends it like any other."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from console.core.instances import LEASE_FD_VARIABLE
from console.core.model import Moment, Owner, Role
from console.system import clock, lease, process
from console.system.lease import Grant
from console.system.lock import carries
from console.system.paths import Paths
from console.system.store import Store

BEGIN = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
BEAT_WIDTH = 100
"""Of the line in the heartbeat's file: each is as long as the one that it overwrites."""
NAME = "monitors"
"""The name of the daemon's role and lease."""


def role(state: Path, config: Path | None) -> Role:
    """How the daemon of the box in `state` is started. It is known by its lease, not by argv.

    No process matches the role. The state directory is part of the rule all the same: else the
    record of another box's daemon would be one of this role.
    """
    command = program()
    if config is not None:
        command += ["--config", str(config)]
    command += ["--state-dir", str(state), "daemon", "run"]
    words = tuple(command)
    return Role(NAME, "daemon run", words, cwd="/", match_args=(str(state),), grace_s=5.0)


def program() -> list[str]:
    """The command line of this program, by path: nothing in the caller's directory shadows it."""
    return [sys.executable, "-P", str(Path(__file__).resolve().parents[1] / "__main__.py")]


def stopped(pid: int) -> bool:
    """Whether the process is stopped (SIGSTOP), and does nothing until it is continued."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
    except OSError:
        return False


def beat(paths: Paths) -> None:
    """Say that the daemon's loop turns, and when, on both clocks."""
    now, file = clock.now(), str(paths.heartbeat)
    with contextlib.suppress(OSError):
        # Not by `Path`: this is all that the daemon does when nothing happens, all day. In place: a
        # full disk, or one without inodes, takes it all the same.
        descriptor = os.open(file, BEGIN, 0o600)
        try:
            line = f"{now.at!r} {now.tick!r} {now.boot}"
            os.pwrite(descriptor, f"{line:<{BEAT_WIDTH}}\n".encode(), 0)
        finally:
            os.close(descriptor)


def heartbeat(paths: Paths) -> Moment | None:
    """When the daemon's loop last turned; None when it never did, or nobody can tell."""
    try:
        at, tick, boot = paths.heartbeat.read_text(encoding="utf-8").split()
        return Moment(float(at), float(tick), boot)
    except (OSError, ValueError):
        return None


def _inherited(paths: Paths, number: str) -> Grant | None:
    """The lease that the shim has passed on to this very process; None when it has not.

    The variable alone proves nothing: every leased worker has it, and passes it on. The descriptor
    must carry the lock, and the owner record must name this process.
    """
    path = paths.lease(NAME)
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        return None
    descriptor, known = int(number), lease.read_owner(paths.owner(NAME))
    if known is None or known[0].identity != process.identify(os.getpid()):
        return None
    if not carries(descriptor, path):
        return None
    os.set_inheritable(descriptor, False)  # a child process must not keep the lease
    return Grant(path, descriptor)


def claim(paths: Paths, store: Store) -> Grant | None:
    """The monitors' lease: inherited from the shim, or taken now; None when another has it.

    Raises LeaseError, StoreError.
    """
    inherited = _inherited(paths, os.environ.pop(LEASE_FD_VARIABLE, ""))
    if inherited is not None:
        return inherited
    lock = paths.lease(NAME)
    grant = lease.take(lock)
    if grant is None:
        return None
    from console.system import tokens  # who asks for the daemon alone takes none

    own = process.identify(os.getpid())
    assert own is not None
    token, now = tokens.grant(paths, store, NAME), clock.now()
    # Nobody guards it but itself: it stands where a shim would.
    owner = Owner(own, token, Moment(now.at, now.tick, now.boot), shim=own, actor="foreground")
    lease.write_owner(paths.owner(NAME), owner, lock)
    return grant
