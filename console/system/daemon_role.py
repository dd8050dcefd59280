"""The daemon of the monitors as a role, which the guard starts and stops like any other."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from console.core.model.roles import Owner, Role
from console.core.model.time import Moment
from console.core.processes.instances import LEASE_FD_VARIABLE
from console.system import clock
from console.system.locks import lease
from console.system.locks.lease import HeldLock
from console.system.locks.ofd_lock import is_lock_descriptor
from console.system.paths import Paths
from console.system.processes import process_table
from console.system.store.store import Store

HEARTBEAT_OPEN_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
HEARTBEAT_LINE_CHARS = 100
"""Fixed length of the heartbeat line, so that each line overwrites the previous one."""
ROLE_NAME = "monitors"
"""The name of the daemon's role and lease."""


def build_role(state: Path, config: Path | None) -> Role:
    """Return the role of the daemon in state directory `state`, identified by lease, not argv.

    No process matches the role. The matching rule contains the state directory nevertheless:
    without it, the record of another box's daemon would count as a record of this role.
    """
    command = program_command()
    if config is not None:
        command += ["--config", str(config)]
    command += ["--state-dir", str(state), "daemon", "run"]
    return Role(
        ROLE_NAME,
        match="daemon run",
        command=tuple(command),
        cwd="/",
        match_args=(str(state),),
        grace_s=5.0,
    )


def program_command() -> list[str]:
    """Return the command line of this program, by path.

    A module in the caller's directory cannot shadow it.
    """
    return [sys.executable, "-P", str(Path(__file__).resolve().parents[1] / "__main__.py")]


def is_stopped(pid: int) -> bool:
    """Return True if the process is stopped (SIGSTOP) or traced."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[:1] in ([b"T"], [b"t"])
    except OSError:
        return False


def write_heartbeat(paths: Paths) -> None:
    """Write the time of the daemon's current loop iteration, on both clocks."""
    now, file = clock.now(), str(paths.heartbeat)
    with contextlib.suppress(OSError):
        # `Path` is avoided for speed: an idle daemon does nothing else all day. The file is
        # overwritten in place, which works on a full disk and without free inodes.
        descriptor = os.open(file, HEARTBEAT_OPEN_FLAGS, 0o600)
        try:
            line = f"{now.at!r} {now.tick!r} {now.boot}"
            os.pwrite(descriptor, f"{line:<{HEARTBEAT_LINE_CHARS}}\n".encode(), 0)
        finally:
            os.close(descriptor)


def read_heartbeat(paths: Paths) -> Moment | None:
    """Return the time of the daemon's last loop iteration; None if missing or unreadable."""
    try:
        at, tick, boot = paths.heartbeat.read_text(encoding="utf-8").split()
        return Moment(float(at), float(tick), boot)
    except (OSError, ValueError):
        return None


def _inherited_lease(paths: Paths, descriptor_text: str) -> HeldLock | None:
    """Return the lease that the shim has passed to this process; None if it has not.

    The variable alone is no proof: every leased worker has it, and its children inherit it. The
    descriptor must hold the lock, and the owner record must name this process.
    """
    path = paths.lease(ROLE_NAME)
    if not (
        descriptor_text.isascii() and descriptor_text.isdecimal() and len(descriptor_text) < 10
    ):
        return None
    descriptor, record = int(descriptor_text), lease.read_owner(paths.owner(ROLE_NAME))
    if record is None or record[0].identity != process_table.identify(os.getpid()):
        return None
    if not is_lock_descriptor(descriptor, path):
        return None
    os.set_inheritable(descriptor, False)  # a child process must not keep the lease
    return HeldLock(path, descriptor)


def acquire_lease(paths: Paths, store: Store) -> HeldLock | None:
    """Return the daemon's lease: inherited or acquired now; None if another process holds it.

    Raises LockFileError, StoreError, OSError.
    """
    inherited = _inherited_lease(paths, os.environ.pop(LEASE_FD_VARIABLE, ""))
    if inherited is not None:
        return inherited
    lock = paths.lease(ROLE_NAME)
    held_lock = lease.acquire(lock)
    if held_lock is None:
        return None
    from console.system.store import fencing_tokens  # other users of this module do not need it

    own = process_table.identify(os.getpid())
    assert own is not None
    token, now = fencing_tokens.next_token(paths, store, ROLE_NAME), clock.now()
    # The process has no shim: it records itself as its own shim.
    owner = Owner(own, token, Moment(now.at, now.tick, now.boot), shim=own, actor="foreground")
    lease.write_owner(paths.owner(ROLE_NAME), owner, lock)
    return held_lock
