"""The decision lock: callers join one that is at work instead of queueing up behind it.

A convenience, not the guarantee: killing its holder costs nothing, and so does losing the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from console.core.model import Outcome
from console.system import clock
from console.system.locks import ofd_lock
from console.system.processes.procfs import LINUX

_POLL_S, _POLL_MAX_S = 0.01, 0.1


class Busy(Exception):
    """Somebody else has been at work all the time; the message says who."""


@contextmanager
def decision(
    path: Path, patience_s: float, joined: Callable[[], Outcome | None]
) -> Iterator[Outcome | None]:
    """Hold the lock; yields an outcome instead, unlocked, when another's work has `joined` ours.

    Raises Busy, LeaseError.
    """
    try:
        descriptor = ofd_lock.open_lock(path)
    except ofd_lock.LeaseError as error:
        if getattr(error.__cause__, "errno", None) != errno.EROFS:
            raise
        yield None  # a convenience: a file system that has become read-only costs no kill
        return
    try:
        outcome, pause = None, _POLL_S
        deadline = clock.tick() + patience_s
        while outcome is None and not _taken(descriptor):
            if clock.tick() > deadline:
                pids = ", ".join(map(str, ofd_lock.holders(path))) or "unknown"
                raise Busy(f"another command is still at work (PID {pids})")
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_MAX_S)  # many may wait: they must not be a load
            outcome = joined()
        yield outcome
    finally:
        os.close(descriptor)  # unlocks: nobody inherits it


def _taken(descriptor: int) -> bool:
    """Try the lock once. portalocker knows every system's, and takes 47 ms to be imported."""
    if LINUX:
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
