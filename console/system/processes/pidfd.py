"""Signals that reach only the process that was meant."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from console.core.model import Identity
from console.system import clock
from console.system.processes.procfs import Gone, ProcessError, alive, identify


class Handle:
    """A process held by a pidfd that was opened *before* its identity was checked.

    The kernel then guarantees that a signal reaches this process or none. Raises Gone, or
    ProcessError when it cannot be held.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._descriptor: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(identity.pid)
            except ProcessLookupError as error:
                raise Gone(f"PID {identity.pid} is gone") from error
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM):
                    why = f"PID {identity.pid} cannot be held: {error.strerror}"
                    raise ProcessError(why) from error
        if identify(identity.pid) != identity:
            self.close()
            raise Gone(f"PID {identity.pid} is no longer the process that was meant")

    def fileno(self) -> int:
        """The pidfd: readable once the process is dead. Raises ProcessError without pidfd."""
        if self._descriptor is None:
            raise ProcessError("this system has no pidfd")
        return self._descriptor

    def send(self, number: int) -> None:
        """Send a signal. Raises Gone, or ProcessError when it is not permitted."""
        import signal  # who only looks sends none, and its names take a millisecond to make

        try:
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            elif identify(self.identity.pid) == self.identity:
                os.kill(self.identity.pid, number)
            else:
                raise Gone(f"PID {self.identity.pid} is gone")
        except ProcessLookupError as error:
            raise Gone(f"PID {self.identity.pid} is gone") from error
        except PermissionError as error:
            raise ProcessError(
                f"no permission to signal PID {self.identity.pid} (another user's process)"
            ) from error

    @property
    def dead(self) -> bool:
        """Whether it has ended; a zombie has."""
        if self._descriptor is not None:
            return _ended([self._descriptor], 0.0)
        return not alive(self.identity)

    def close(self) -> None:
        """Let go of it; nothing happens to the process."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def wait_dead(handles: Sequence[Handle], timeout: float) -> list[Handle]:
    """Wait until all are dead or `timeout` seconds are over; those that still live."""
    deadline = clock.tick() + timeout
    living = [handle for handle in handles if not handle.dead]
    while living and (left := deadline - clock.tick()) > 0:
        _wait_any(living, min(left, 0.5))
        living = [handle for handle in living if not handle.dead]
    return living


def _wait_any(handles: Sequence[Handle], timeout: float) -> None:
    try:
        _ended([handle.fileno() for handle in handles], timeout)
    except ProcessError:
        _ended([], min(timeout, 0.05))  # no pidfd: looking again is all there is


def _ended(pidfds: Sequence[int], timeout: float) -> bool:
    """Whether one of them has ended within `timeout` seconds."""
    import select

    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def open_handles(identities: Iterable[Identity]) -> list[Handle]:
    """A handle for each that still lives."""
    handles = []
    for identity in identities:
        try:
            handles.append(Handle(identity))
        except Gone:
            continue
    return handles
