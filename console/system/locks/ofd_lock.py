"""File locks that remain held while any process that inherited the descriptor is alive.

An open-file-description lock (`F_OFD_SETLK`) belongs to the open file. Shim and worker inherit it
with the descriptor, so it survives the death of the process that took it. It cannot be taken
through a read-only descriptor, and `F_OFD_GETLK` reads its state without changing it. Where such
locks are missing, `flock` has the same lifetime; its state is read by trying to take it.

Rejected alternatives: a lock of the caller is lost with the caller, `lockf` is not inherited, and
leaving a portalocker object also unlocks for the processes that inherited the descriptor.

The file is never unlinked, is always empty, and is opened without following links.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.records import Component
from console.system.processes.procfs import IS_LINUX, PROC_DIR

_HAS_OFD_LOCKS = IS_LINUX and hasattr(fcntl, "F_OFD_SETLK")
_FLOCK_FORMAT = "@hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class LockFileError(ConsoleError):
    """An unusable lock file. The message names the file and the reason."""


class HeldLock(Component):
    """A held lock. Closing releases it only if no other process has inherited the descriptor."""

    path: Path
    descriptor: int

    def close(self) -> None:
        """Close, but do not unlock: that would release the lock of child processes too."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_lock(path: Path) -> int:
    """Open or create a lock file without following links. Return its descriptor.

    The file must belong to the current user, and its mode becomes 0600. Raises LockFileError.
    """
    try:
        descriptor = _open(path, os.O_CREAT)
    except OSError as error:
        raise LockFileError(
            f"{path}: the lock cannot be opened: {_explain_open_error(path, error)}"
        ) from error
    if os.fstat(descriptor).st_mode & 0o077:
        os.fchmod(descriptor, 0o600)
    return descriptor


def _open(path: Path, extra_flags: int = 0) -> int:
    """Open a regular file of the current user with one hard link. Raises OSError, LockFileError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | extra_flags
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
        raise LockFileError(f"{path}: unsafe lock file: {problem}")
    return descriptor


def _explain_open_error(path: Path, error: OSError) -> str:
    return "it is a symbolic link" if path.is_symlink() else error.strerror or str(error)


def try_lock(descriptor: int, shared: bool = False) -> bool:
    """Take the lock of an open file without waiting; return False if held. Raises OSError."""
    try:
        if _HAS_OFD_LOCKS:
            kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
            request = struct.pack(_FLOCK_FORMAT, kind, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, request)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if isinstance(error, BlockingIOError | PermissionError):
            return False
        raise
    return True


def acquire(path: Path, shared: bool = False) -> HeldLock | None:
    """Take the lock; return None if another process holds it. Raises LockFileError."""
    descriptor = open_lock(path)
    try:
        if not try_lock(descriptor, shared):
            os.close(descriptor)
            return None
        if not is_same_file(descriptor, path):
            raise LockFileError(f"{path}: was replaced while it was being locked")
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return HeldLock(path, descriptor)


def is_same_file(descriptor: int, path: Path) -> bool:
    try:
        opened, named = os.fstat(descriptor), os.lstat(path)
    except OSError:
        return False
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)


def is_lock_descriptor(descriptor: int, path: Path) -> bool:
    """Return True if a descriptor of this process holds the lock of the file at `path`.

    `descriptor` is an untrusted number and may not be an open descriptor.
    """
    try:
        status = os.fstat(descriptor)
    except (OSError, OverflowError):
        return False
    if not is_same_file(descriptor, path):
        return False
    return _descriptor_holds_lock(os.getpid(), str(descriptor), status.st_dev, status.st_ino)


def is_locked(path: Path) -> bool:
    """Return True if a process holds the lock, without taking it. Raises LockFileError."""
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LockFileError(
            f"{path}: the lock cannot be looked at: {_explain_open_error(path, error)}"
        ) from error
    try:
        if not _HAS_OFD_LOCKS:
            return _is_locked_by_trying(descriptor)
        request = struct.pack(_FLOCK_FORMAT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, request)
        return bool(struct.unpack(_FLOCK_FORMAT, answer)[0] != fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


def _is_locked_by_trying(descriptor: int) -> bool:
    # The shared lock is held for microseconds. `ensure` checks twice before it accepts "held".
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def lock_holder_pids(path: Path) -> tuple[int, ...]:
    """Return the PIDs of the processes whose descriptors hold the lock, in ascending order.

    `lslocks` cannot show them: the kernel's lock table names the process that took the lock, which
    may be dead. `/proc/PID/fdinfo/FD` has a `lock:` line in each process that inherited the lock,
    and none in a process that only opened the file.
    """
    try:
        status = path.lstat()
    except OSError:
        return ()
    holders = []
    for pid in _list_pids():
        with contextlib.suppress(OSError):
            if any(
                _descriptor_holds_lock(pid, fd, status.st_dev, status.st_ino)
                for fd in _list_descriptors(pid)
            ):
                holders.append(pid)
    return tuple(sorted(holders))


def _list_pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(name) for name in os.listdir(PROC_DIR) if name.isdigit())


def _list_descriptors(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def _descriptor_holds_lock(pid: int, descriptor: str, device: int, inode: int) -> bool:
    try:
        status = os.stat(f"/proc/{pid}/fd/{descriptor}")
        if (status.st_dev, status.st_ino) != (device, inode):
            return False
        with open(f"/proc/{pid}/fdinfo/{descriptor}", encoding="utf-8", errors="replace") as file:
            return any(line.startswith("lock:") for line in file)
    except OSError:
        return False
