"""The kernel's side of a lease: a lock that lives as long as any process that inherited it.

An open-file-description lock (`F_OFD_SETLK`) belongs to the descriptor, is inherited with it by
shim and worker, survives the death of whoever took it, cannot be taken through a read-only
descriptor, and can be looked at without being touched (`F_OFD_GETLK`). Where there is none, `flock`
has the same life, and looking tries. Chosen over locks of the caller (lost with the caller), over
`lockf` (not inherited) and over portalocker's own objects (leaving one unlocks for the heirs too).

The file is never unlinked, holds nothing, and is opened without following links.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from console.core.frozen import slotted
from console.system.processes.procfs import LINUX, PROC

_OFD = LINUX and hasattr(fcntl, "F_OFD_SETLK")
_FLOCK = "@hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class LeaseError(Exception):
    """A lock file that cannot be used: the message says why and names the file."""


@slotted
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
    try:
        descriptor = _open(path, os.O_CREAT)
    except OSError as error:
        raise LeaseError(f"{path}: the lock cannot be opened: {_why(path, error)}") from error
    if os.fstat(descriptor).st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _open(path: Path, more: int = 0) -> int:
    """A descriptor on a regular file of ours with one name. Raises OSError, LeaseError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | more
    descriptor = os.open(path, flags, 0o600)
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
    return descriptor


def _why(path: Path, error: OSError) -> str:
    return "it is a symbolic link" if path.is_symlink() else error.strerror or str(error)


def lock(descriptor: int, shared: bool = False) -> bool:
    """Take the lock of an open file, at once or not at all. Raises OSError."""
    try:
        if _OFD:
            kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
            whole = struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError | PermissionError):
            return False
        raise
    return True


def take(path: Path, shared: bool = False) -> Grant | None:
    """The lease, or None when somebody holds it. Raises LeaseError."""
    descriptor = open_lock(path)
    try:
        if not lock(descriptor, shared):
            os.close(descriptor)
            return None
        if not same_file(descriptor, path):
            raise LeaseError(f"{path}: was replaced while it was being locked")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return Grant(path, descriptor)


def same_file(descriptor: int, path: Path) -> bool:
    try:
        ours, named = os.fstat(descriptor), os.lstat(path)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino)


def carries(descriptor: int, path: Path) -> bool:
    """Whether a descriptor of this process carries the lock of the file at `path`.

    It may be no descriptor at all: a number that comes from elsewhere.
    """
    try:
        status = os.fstat(descriptor)
    except (OSError, OverflowError):
        return False
    if not same_file(descriptor, path):
        return False
    return _carries(os.getpid(), str(descriptor), status.st_dev, status.st_ino)


def held(path: Path) -> bool:
    """Whether anybody holds the lock, without taking it. Raises LeaseError."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LeaseError(f"{path}: the lock cannot be looked at: {_why(path, error)}") from error
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
        status = path.lstat()
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
        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="utf-8", errors="replace") as file:
            return any(line.startswith("lock:") for line in file)
    except OSError:
        return False
