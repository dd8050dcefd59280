"""Commands that come at the same time load in turns, in the order in which they came.

Loading takes most of a command's time, and all of a processor. Sixty-four that share two of them
throw each other's caches out at every switch: each needs a third more, and all are ready at the end
only. In turns the first has its answer while the others wait, and the last has it earlier, too.

A courtesy, not a lock of ours: nothing is right or wrong by it. Who waits too long goes on without.
"""

from __future__ import annotations

import os
import time

try:
    import fcntl
except ImportError:  # on Windows all load at once
    fcntl = None  # type: ignore[assignment]

PATIENCE_S = 3.0
"""So long one waits for a turn: whoever has it may have been stopped."""


class Turn:
    """The place of this process among those that load, from its beginning until it is left."""

    def __init__(self, take: bool = True) -> None:
        self.came = time.monotonic()
        """When this command came."""
        self._place = _take() if take and fcntl is not None else None

    def leave(self) -> None:
        """Let the next one load. The kernel does it for those who end."""
        if self._place is not None:
            os.close(self._place)
            self._place = None


def _take() -> int | None:
    """A place, held by its descriptor; None where none can be had."""
    try:
        places = where()
        own = os.getpid() % max(1, len(places))
        for path in (*places[own:], *places[:own]):
            if (place := _hold(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is not None:
                return place
        return _wait(places[own]) if places else None
    except OSError:
        return None


def where() -> list[str]:
    """The places: one for each processor and one more, so that none is idle. Raises OSError.

    Files of this installation, which everybody who runs it can open, and which are there before
    any configuration has been read; nothing is written to them.
    """
    room = os.path.dirname(__file__)
    files = sorted(name for name in os.listdir(room) if name.endswith(".py"))
    return [os.path.join(room, name) for name in files[: _processors() + 1]]


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _hold(path: str, how: int) -> int | None:
    """A descriptor that holds the place; None while another one does. Raises OSError."""
    place = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(place, how)
    except BlockingIOError:
        os.close(place)
        return None
    except BaseException:
        os.close(place)
        raise
    return place


def _wait(path: str) -> int | None:
    """Stand in the kernel's line for a place: nobody has to look whether it is free."""
    import signal  # most need not wait

    before = signal.signal(signal.SIGALRM, _enough)
    try:
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        return _hold(path, fcntl.LOCK_EX)
    except TimeoutError:
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _enough(*_: object) -> None:
    raise TimeoutError
