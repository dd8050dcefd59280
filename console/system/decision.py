"""The decision lock: callers join one that is at work instead of queueing up behind it.

A convenience, not the guarantee: killing its holder costs nothing, and so does losing the file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from console.core.model import Outcome
from console.system import clock, lock

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
    import portalocker

    descriptor = lock.open_lock(path)
    flags = portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
    try:
        outcome, pause = None, _POLL_S
        deadline = clock.tick() + patience_s
        while outcome is None:
            try:
                portalocker.lock(descriptor, flags)
                break
            except portalocker.exceptions.LockException:
                if clock.tick() > deadline:
                    pids = ", ".join(map(str, lock.holders(path))) or "unknown"
                    reason = f"another command is still at work (PID {pids})"
                    raise Busy(reason) from None
                time.sleep(pause)
                pause = min(pause * 1.5, _POLL_MAX_S)  # many may wait: they must not be a load
                outcome = joined()
        yield outcome
    finally:
        os.close(descriptor)  # unlocks: nobody inherits it
