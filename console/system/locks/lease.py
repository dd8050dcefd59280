"""The state of a lease, from its life lock and the owner record beside it.

The lock is authoritative. The record is information: it names the process to check with the kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from console.core.model.processes import Identity
from console.core.model.roles import Lease, LeaseState, Owner
from console.core.model.time import Moment
from console.core.processes import shim_program
from console.system import clock
from console.system.locks.ofd_lock import (
    HeldLock,
    LockFileError,
    acquire,
    is_locked,
    lock_holder_pids,
    open_lock,
)
from console.system.processes.procfs import is_alive, read_stat

__all__ = [
    "HeldLock",
    "LockFileError",
    "acquire",
    "is_locked",
    "live_owner",
    "lock_holder_pids",
    "open_lock",
    "read_lease",
    "read_owner",
    "write_owner",
]

_INVALID_RECORD_ERRORS = (
    ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""The errors that parsing any file as an owner record can raise."""

# --- the owner record: information, never proof ------------------------------------------------


def write_owner(path: Path, owner: Owner, lock_file: Path) -> None:
    """Write the owner record of a lease. The caller holds the lock. Raises OSError."""
    status = lock_file.stat()
    record = {
        "identity": str(owner.identity),
        "token": owner.token,
        "since": [owner.since.at, owner.since.tick, owner.since.boot],
        "shim": str(owner.shim) if owner.shim else None,
        "actor": owner.actor,
        "lock": [status.st_dev, status.st_ino],
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(record), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        _overwrite_in_place(path, json.dumps(record).encode())


def _overwrite_in_place(path: Path, raw: bytes) -> None:
    """Overwrite the previous record, padded to its size; works on a full disk. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, raw.ljust(os.fstat(descriptor).st_size), 0)
    finally:
        os.close(descriptor)


def read_owner(path: Path) -> tuple[Owner, tuple[int, int]] | None:
    """Return the owner record and the lock's (device, inode); None if missing or unreadable."""
    try:
        record = json.loads(path.read_bytes()[:65_536])
        token = record["token"]
        at, tick, boot = record["since"]
        device, inode = map(int, record["lock"])
        if type(token) is not int or not 0 <= token < 1 << 63:
            return None
        since = _parse_moment(at, tick, boot)
        owner = Owner(
            identity=with_current_boot_id(Identity.parse(record["identity"]), since),
            token=token,
            since=since,
            shim=with_current_boot_id(Identity.parse(record["shim"]), since)
            if record.get("shim")
            else None,
            actor=str(record.get("actor", "")),
        )
        return owner, (device, inode)
    except (*_INVALID_RECORD_ERRORS, OSError):
        return None


def _parse_moment(at: float, tick: float, boot: str) -> Moment:
    """Return the moment of a record. Raises TypeError, ValueError."""
    if not (at - at == 0 == tick - tick and isinstance(boot, str)):
        raise ValueError("neither is endless")
    return Moment(float(at), float(tick), boot)


MAX_BOOT_TIME_DIFFERENCE_S = 60.0
"""Two computed start times of one boot differ by less, unless the clock was set in between."""


def with_current_boot_id(identity: Identity, since: Moment) -> Identity:
    """Return the identity, with the current boot id if it has another id of the same boot.

    A container may show a boot id of its own. The boot is the same if the process has the recorded
    PID and start ticks, and if the boot time computed at `since` is the current one.
    """
    boot = clock.boot_id()
    if identity.boot == boot:
        return identity
    stat, now = read_stat(identity.pid), clock.now()
    difference_s = (since.at - since.tick) - (now.at - now.tick)
    if (
        stat is None
        or stat[0] in "ZX"
        or stat[2] != identity.ticks
        or abs(difference_s) > MAX_BOOT_TIME_DIFFERENCE_S
    ):
        return identity
    return Identity(identity.pid, identity.ticks, boot)


def read_lease(lock_file: Path, owner_file: Path, held_by_caller: bool = False) -> Lease:
    """Return the state of the lease, without taking the lock.

    `held_by_caller`: the caller holds the lock. No other process can hold it then, so the lease is
    free to the caller, and holders are not searched.
    """
    try:
        is_held = not held_by_caller and is_locked(lock_file)
        record = read_owner(owner_file)
        owner = record[0] if record else None
        # A record without a shim is written by a caller before it starts a worker.
        if owner and record and owner.shim is not None and is_alive(owner.identity):
            if not _has_inode(lock_file, record[1]):
                reason = "the lock file was removed or replaced"
                return Lease(LeaseState.REPLACED, owner, reason=reason)
            return Lease(LeaseState.HELD if is_held else LeaseState.FREE, owner)
        return _state_without_owner(lock_file, owner) if is_held else Lease(LeaseState.FREE, owner)
    except LockFileError as error:
        return Lease(LeaseState.UNKNOWN, reason=str(error))


def live_owner(lock_file: Path, owner_file: Path) -> Owner | None:
    """Return the owner if it is alive, has a shim and holds the lease; else None.

    The function searches no other holders. While a worker is about to start, it takes a fraction of
    the time of `read_lease`.
    """
    try:
        record = read_owner(owner_file)
        if record is None or record[0].shim is None or not is_alive(record[0].identity):
            return None
        return record[0] if _has_inode(lock_file, record[1]) and is_locked(lock_file) else None
    except LockFileError:
        return None


def _state_without_owner(lock_file: Path, owner: Owner | None) -> Lease:
    """Return the state of a held lease without a live worker.

    The holder is a shim or a caller at work, or a leftover.
    """
    pids = lock_holder_pids(lock_file)
    if any(is_shim(pid) or _is_exiting(pid) for pid in pids):
        return Lease(LeaseState.HELD, owner, pids, "its shim is starting or ending a worker")
    if owner is not None and owner.identity.pid in pids and is_alive(owner.identity):
        return Lease(LeaseState.HELD, owner, pids, "a caller is about to start a worker")
    if not is_locked(lock_file):
        return Lease(LeaseState.FREE, owner)
    return Lease(LeaseState.ORPHANED, owner, pids, "its owner is gone")


def is_shim(pid: int) -> bool:
    """Return True if a process is a shim, of any installation."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        words = os.fsdecode(file.read(4096)).split("\0")
        # `-X utf8` may follow these options.
        return words[1:3] == ["-I", "-S"] and shim_program.is_shim(words)
    return False


def _is_exiting(pid: int) -> bool:
    """Return True if a process is exiting: the kernel frees its memory before its descriptors."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return not file.read(1)
    return True


def _has_inode(path: Path, device_inode: tuple[int, int]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == device_inode
