"""Reports the exit of one process at once: that of the daemon, to a process that follows it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from console.system.processes.pidfd import ProcessHandle
from console.system.processes.procfs import ProcessError, identify


class ProcessExitWatcher:
    """Watcher of one process.

    Without pidfds it reports nothing, and the caller has to poll.
    """

    def __init__(self, on_exit: Callable[[], None]) -> None:
        self._on_exit = on_exit
        self._pid: int | None = None
        self._handle: ProcessHandle | None = None
        self.is_watching = False
        """True if the kernel reports the exit of the process."""

    def watch(self, pid: int | None) -> None:
        """Watch only this process from now on; None: no process."""
        if pid == self._pid:
            return
        self.close()
        self._pid = pid
        if pid is not None and (identity := identify(pid)) is not None:
            with contextlib.suppress(ProcessError):
                self._handle = ProcessHandle(identity)
                if self._handle.is_dead:  # a zombie: it has exited already
                    return
                asyncio.get_running_loop().add_reader(self._handle.fileno(), self._handle_exit)
                self.is_watching = True

    def _handle_exit(self) -> None:
        self.close()
        self._on_exit()

    def close(self) -> None:
        """Stop watching and forget the PID: the process is dead, or another one replaces it."""
        if self._handle is not None:
            with contextlib.suppress(ProcessError):
                asyncio.get_running_loop().remove_reader(self._handle.fileno())
            self._handle.close()
        self._handle, self._pid, self.is_watching = None, None, False
