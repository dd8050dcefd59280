"""A lease as it stands: who may run, by the lock, and what the shim wrote beside it.

The lock is the truth; the record is information, and says who to ask the kernel about.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from console.core.model import Identity, Lease, LeaseState, Moment, Owner
from console.core.processes import shim_program
from console.system import clock
from console.system.locks.ofd_lock import Grant, LeaseError, held, holders, open_lock, take
from console.system.processes.procfs import alive, stat_of

__all__ = [
    "Grant",
    "LeaseError",
    "held",
    "holders",
    "living",
    "look",
    "open_lock",
    "read_owner",
    "take",
    "write_owner",
]

_NO_RECORD = (
    ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError,
)  # fmt: skip
"""What reading a file as an owner record raises, whatever is in it."""

# --- the owner record: information, never proof ------------------------------------------------


def write_owner(path: Path, owner: Owner, lock: Path) -> None:
    """Say who owns the lease. Written under the lock. Raises OSError."""
    status = lock.stat()
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
        _overwrite(path, json.dumps(record).encode())


def _overwrite(path: Path, raw: bytes) -> None:
    """Put it over the record before, padded: what a full disk still takes. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, raw.ljust(os.fstat(descriptor).st_size), 0)
    finally:
        os.close(descriptor)


def read_owner(path: Path) -> tuple[Owner, tuple[int, int]] | None:
    """The owner record and the lock's (device, inode); None when missing or unreadable."""
    try:
        record = json.loads(path.read_bytes()[:65_536])
        token = record["token"]
        at, tick, boot = record["since"]
        device, inode = map(int, record["lock"])
        if type(token) is not int or not 0 <= token < 1 << 63:
            return None
        since = _moment(at, tick, boot)
        owner = Owner(
            identity=here(Identity.parse(record["identity"]), since),
            token=token,
            since=since,
            shim=here(Identity.parse(record["shim"]), since) if record.get("shim") else None,
            actor=str(record.get("actor", "")),
        )
        return owner, (device, inode)
    except (*_NO_RECORD, OSError):
        return None


def _moment(at: float, tick: float, boot: str) -> Moment:
    """The moment that a record tells. Raises TypeError, ValueError."""
    if not (at - at == 0 == tick - tick and isinstance(boot, str)):
        raise ValueError("neither is endless")
    return Moment(float(at), float(tick), boot)


BOOT_APART_S = 60.0
"""Two readings of one boot's begin differ by less, unless the clock was set in between."""


def here(identity: Identity, since: Moment) -> Identity:
    """The identity, with this boot's id where another one was given to the same boot.

    A container may show a boot id of its own. The process has the PID and the start ticks that
    were recorded `since` then, and by both clocks the boot began at the same time.
    """
    boot = clock.boot_id()
    if identity.boot == boot:
        return identity
    stat, now = stat_of(identity.pid), clock.now()
    apart = (since.at - since.tick) - (now.at - now.tick)
    if stat is None or stat[0] in "ZX" or stat[2] != identity.ticks or abs(apart) > BOOT_APART_S:
        return identity
    return Identity(identity.pid, identity.ticks, boot)


def look(lock: Path, record: Path, ours: bool = False) -> Lease:
    """The lease as it stands, without touching it. `ours`: who asks has taken it and holds it.

    To him it is free: nobody else can hold it, so nobody need be looked for.
    """
    try:
        is_held = not ours and held(lock)
        known = read_owner(record)
        owner = known[0] if known else None
        # Without a shim the record is only the claim of a caller who is about to start a worker.
        if owner and known and owner.shim is not None and alive(owner.identity):
            if not _is(lock, known[1]):
                reason = "the lock file was removed or replaced"
                return Lease(LeaseState.REPLACED, owner, reason=reason)
            return Lease(LeaseState.HELD if is_held else LeaseState.FREE, owner)
        return _without_owner(lock, owner) if is_held else Lease(LeaseState.FREE, owner)
    except LeaseError as error:
        return Lease(LeaseState.UNKNOWN, reason=str(error))


def living(lock: Path, record: Path) -> Owner | None:
    """The owner, if he lives, has a shim and holds the lease; nobody else is looked for.

    A fraction of the cost of a `look` while somebody is only about to own it.
    """
    try:
        known = read_owner(record)
        if known is None or known[0].shim is None or not alive(known[0].identity):
            return None
        return known[0] if _is(lock, known[1]) and held(lock) else None
    except LeaseError:
        return None


def _without_owner(lock: Path, owner: Owner | None) -> Lease:
    """Held, and its owner does not live: by a shim or a caller at work, or by a leftover."""
    pids = holders(lock)
    if any(is_shim(pid) or _exiting(pid) for pid in pids):
        return Lease(LeaseState.HELD, owner, pids, "its shim is starting or ending a worker")
    if owner is not None and owner.identity.pid in pids and alive(owner.identity):
        return Lease(LeaseState.HELD, owner, pids, "a caller is about to start a worker")
    if not held(lock):
        return Lease(LeaseState.FREE, owner)
    return Lease(LeaseState.ORPHANED, owner, pids, "its owner is gone")


def is_shim(pid: int) -> bool:
    """Return True if a process is a shim, of whatever installation."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        words = os.fsdecode(file.read(4096)).split("\0")
        return words[1:3] == ["-I", "-S"] and shim_program.is_shim(
            words
        )  # `-X utf8` may come between
    return False


def _exiting(pid: int) -> bool:
    """Whether a process is on its way out: its memory goes before its descriptors do."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return not file.read(1)
    return True


def _is(path: Path, device_inode: tuple[int, int]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == device_inode
