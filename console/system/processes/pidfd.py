"""Sends signals through pidfds, so that a reused PID cannot receive them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence

from console.core.model.processes import Identity
from console.system import clock
from console.system.processes.procfs import ProcessError, ProcessGone, identify, is_alive


class ProcessHandle:
    """A pidfd of one process, opened *before* the process's identity is checked.

    The kernel therefore guarantees that a signal reaches this process or none. Raises ProcessGone,
    or ProcessError if the pidfd cannot be opened.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._pidfd: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(identity.pid)
            except ProcessLookupError as error:
                raise ProcessGone(f"PID {identity.pid} is gone") from error
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EPERM):
                    why = f"PID {identity.pid} cannot be held: {error.strerror}"
                    raise ProcessError(why) from error
        if identify(identity.pid) != identity:
            self.close()
            raise ProcessGone(f"PID {identity.pid} is no longer the process that was meant")

    def fileno(self) -> int:
        """Return the pidfd, which becomes readable when the process ends.

        Raises ProcessError if the system has no pidfds.
        """
        if self._pidfd is None:
            raise ProcessError("this system has no pidfd")
        return self._pidfd

    def send_signal(self, signum: int) -> None:
        """Send a signal. Raises ProcessGone, or ProcessError if it is not permitted."""
        import signal  # takes 1 ms to import; callers that only observe do not need it

        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, signum)
            elif identify(self.identity.pid) == self.identity:
                os.kill(self.identity.pid, signum)
            else:
                raise ProcessGone(f"PID {self.identity.pid} is gone")
        except ProcessLookupError as error:
            raise ProcessGone(f"PID {self.identity.pid} is gone") from error
        except PermissionError as error:
            raise ProcessError(
                f"no permission to signal PID {self.identity.pid} (another user's process)"
            ) from error

    @property
    def is_dead(self) -> bool:
        """Return True if the process has ended. A zombie counts as ended."""
        if self._pidfd is not None:
            return _has_any_ended([self._pidfd], 0.0)
        return not is_alive(self.identity)

    def close(self) -> None:
        """Close the pidfd. The process is not affected."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def wait_until_dead(handles: Sequence[ProcessHandle], timeout_s: float) -> list[ProcessHandle]:
    """Wait until all processes are dead or `timeout_s` has passed; return those still alive."""
    deadline = clock.tick() + timeout_s
    living = [handle for handle in handles if not handle.is_dead]
    while living and (remaining_s := deadline - clock.tick()) > 0:
        _wait_any(living, min(remaining_s, 0.5))
        living = [handle for handle in living if not handle.is_dead]
    return living


def _wait_any(handles: Sequence[ProcessHandle], timeout_s: float) -> None:
    try:
        _has_any_ended([handle.fileno() for handle in handles], timeout_s)
    except ProcessError:
        _has_any_ended([], min(timeout_s, 0.05))  # without pidfds, the caller polls


def _has_any_ended(pidfds: Sequence[int], timeout_s: float) -> bool:
    """Return True if at least one of the processes ends within `timeout_s`."""
    import select

    poll = select.poll()
    for pidfd in pidfds:
        poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def open_handles(identities: Iterable[Identity]) -> list[ProcessHandle]:
    """Return a handle for each process that is not gone. Raises ProcessError."""
    handles = []
    for identity in identities:
        try:
            handles.append(ProcessHandle(identity))
        except ProcessGone:
            continue
    return handles
