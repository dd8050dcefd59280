"""The life lock: held by a kernel lock for exactly as long as the worker lives.

An open-file-description lock (`F_OFD_SETLK`) belongs to the descriptor, is inherited with it by
shim and worker, survives the death of whoever took it, cannot be taken through a read-only
descriptor, and can be looked at without being touched (`F_OFD_GETLK`). Where there is none, `flock`
has the same life, and looking reads `/proc/PID/fdinfo` or tries.

The file is never unlinked, holds nothing, and is opened without following links.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from console.core.model import Identity, Lease, LeaseState, Moment, Owner
from console.system.process import LINUX, PROC, alive

SHIM = Path(__file__).with_name("shim.py")

_OFD = LINUX and hasattr(fcntl, "F_OFD_SETLK")
_FLOCK = "@hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class LeaseError(Exception):
    """A lock file that cannot be used: the message says why and names the file."""


@dataclass(slots=True)
class Grant:
    """The lock, taken. Closing lets go only if no heir holds the descriptor."""

    path: Path
    descriptor: int

    def close(self) -> None:
        """Close our descriptor. Never unlocks: the heirs' lock is the same lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_lock(path: Path) -> int:
    """Open a lock file without following links; it must be ours alone. Raises LeaseError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        hint = "it is a symbolic link" if path.is_symlink() else error.strerror
        raise LeaseError(f"{path}: the lock cannot be opened: {hint}") from error
    status = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(status.st_mode):
        problem = "is not a regular file"
    elif status.st_uid != os.geteuid():
        problem = f"belongs to uid {status.st_uid}, not to you"
    elif status.st_nlink > 1:
        problem = "has a second name (hard link)"
    if problem:
        os.close(descriptor)
        raise LeaseError(f"{path}: unsafe lock file: {problem}")
    if status.st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        if _OFD:
            whole = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError | PermissionError):
            return False
        raise
    return True


def take(path: Path) -> Grant | None:
    """The lease, or None when somebody holds it. Raises LeaseError."""
    descriptor = open_lock(path)
    try:
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        if not _same_file(descriptor, path):
            raise LeaseError(f"{path}: was replaced while it was being locked")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return Grant(path, descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        ours, named = os.fstat(descriptor), os.lstat(path)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


def held(path: Path) -> bool:
    """Whether anybody holds the lock, without taking it. Raises LeaseError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LeaseError(f"{path}: the lock cannot be looked at: {error.strerror}") from error
    try:
        if not _OFD:
            return _held_by_trying(descriptor)
        whole = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, whole)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


def _held_by_trying(descriptor: int) -> bool:
    # A shared try lasts microseconds; `ensure` takes "held" for final only after it asked twice.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def holders(path: Path) -> tuple[int, ...]:
    """PIDs whose descriptors carry the lock itself: the truth that `lslocks` cannot tell.

    The kernel's lock table names the process that took the lock, long dead; the `lock:` line in
    `/proc/PID/fdinfo/FD` stands at every heir, and not at one who merely opened the file.
    """
    try:
        status = path.stat()
    except OSError:
        return ()
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            if any(_carries(pid, fd, status.st_dev, status.st_ino) for fd in _descriptors(pid)):
                found.append(pid)
    return tuple(sorted(found))


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir(PROC) if name.isdigit())


def _descriptors(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def _carries(pid: int, descriptor: str, device: int, inode: int) -> bool:
    try:
        status = os.stat(f"/proc/{pid}/fd/{descriptor}")
        if (status.st_dev, status.st_ino) != (device, inode):
            return False
        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="ascii", errors="replace") as file:
            return any(line.startswith("lock:") for line in file)
    except OSError:
        return False


# --- the owner record: information, never proof ------------------------------------------------


def write_owner(path: Path, owner: Owner, lock: Path) -> None:
    """Say who owns the lease. Written under the lock."""
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
    temporary.write_text(json.dumps(record), encoding="utf-8")
    temporary.replace(path)


def read_owner(path: Path) -> tuple[Owner, tuple[int, int]] | None:
    """The owner record and the lock's (device, inode); None when missing or unreadable."""
    try:
        record = json.loads(path.read_bytes()[:65_536])
        owner = Owner(
            identity=Identity.parse(record["identity"]),
            token=int(record["token"]),
            since=Moment(*record["since"]),
            shim=Identity.parse(record["shim"]) if record.get("shim") else None,
            actor=str(record.get("actor", "")),
        )
        return owner, tuple(record["lock"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def look(lock: Path, record: Path) -> Lease:
    """The lease as it stands, without touching it."""
    try:
        is_held = held(lock)
    except LeaseError as error:
        return Lease(LeaseState.UNKNOWN, reason=str(error))
    known = read_owner(record)
    owner = known[0] if known else None
    owner_alive = owner is not None and alive(owner.identity)
    if is_held and owner_alive:
        return Lease(LeaseState.HELD, owner)
    if is_held:
        pids = holders(lock)
        if any(_is_shim(pid) for pid in pids):
            return Lease(LeaseState.HELD, owner, pids, "its shim is starting or ending a worker")
        return Lease(LeaseState.ORPHANED, owner, pids, "its owner is gone")
    if owner_alive and known and not _is(lock, known[1]):
        return Lease(LeaseState.REPLACED, owner, reason="the lock file was removed or replaced")
    return Lease(LeaseState.FREE, owner)


def _is_shim(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read(4096).split(b"\0")[3:4] == [os.fsencode(SHIM)]
    return False


def _is(path: Path, device_inode: tuple[int, int]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == device_inode


def openers(path: Path) -> tuple[int, ...]:
    """PIDs that have the file open, whether or not they hold its lock."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return tuple(pid for pid in _pids() if _opens(pid, status.st_dev, status.st_ino))


def _opens(pid: int, device: int, inode: int) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in _descriptors(pid):
            with contextlib.suppress(OSError):
                status = os.stat(f"/proc/{pid}/fd/{descriptor}")
                if (status.st_dev, status.st_ino) == (device, inode):
                    return True
    return False
