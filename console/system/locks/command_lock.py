"""The command lock: serializes commands for a role; a waiting caller can take over a result.

This lock is a convenience. The guarantee is the life lock: a killed holder or a lost lock file does
no harm.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.model.commands import Outcome
from console.system import clock
from console.system.locks import ofd_lock
from console.system.processes.procfs import IS_LINUX

_POLL_INTERVAL_S, _MAX_POLL_INTERVAL_S = 0.01, 0.1


class CommandLockTimeout(ConsoleError):
    """Another command has held the lock for the whole timeout. The message names its PIDs."""


@contextmanager
def hold_command_lock(
    path: Path, timeout_s: float, poll_result: Callable[[], Outcome | None]
) -> Iterator[Outcome | None]:
    """Hold the command lock at `path`, and yield None.

    While another process holds the lock, call `poll_result` repeatedly: the first outcome that it
    returns is yielded, without the lock. On a read-only file system, yield None without the lock.
    Raises CommandLockTimeout, LockFileError.
    """
    try:
        descriptor = ofd_lock.open_lock(path)
    except ofd_lock.LockFileError as error:
        if getattr(error.__cause__, "errno", None) != errno.EROFS:
            raise
        yield None  # a read-only file system must not prevent a kill
        return
    try:
        outcome, pause = None, _POLL_INTERVAL_S
        deadline = clock.tick() + timeout_s
        while outcome is None and not _try_lock(descriptor):
            if clock.tick() > deadline:
                pids = ", ".join(map(str, ofd_lock.lock_holder_pids(path))) or "unknown"
                raise CommandLockTimeout(f"another command is still at work (PID {pids})")
            time.sleep(pause)
            pause = min(pause * 1.5, _MAX_POLL_INTERVAL_S)  # many callers may wait: limit the load
            outcome = poll_result()
        yield outcome
    finally:
        os.close(descriptor)  # unlocks: no child inherits it


def _try_lock(descriptor: int) -> bool:
    """Try to take the lock; return True on success.

    portalocker supports every platform, but its import takes 47 ms: on Linux it is not used.
    """
    if IS_LINUX:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as portalocker does here
        except BlockingIOError:
            return False
        return True
    import portalocker

    try:
        flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
        portalocker.lock(descriptor, flags)
    except portalocker.exceptions.LockException:
        return False
    return True
