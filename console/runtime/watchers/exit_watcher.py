"""Hears at once of the death of one process: of the daemon, by those who follow it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from console.system.processes.pidfd import Handle
from console.system.processes.procfs import ProcessError, identify


class Deathwatch:
    """Where the kernel tells of no deaths, nothing is heard: who looks finds out."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._pid: int | None = None
        self._handle: Handle | None = None
        self.listens = False
        """Whether the kernel would tell of the death."""

    def over(self, pid: int | None) -> None:
        """From now on over this process alone."""
        if pid == self._pid:
            return
        self.close()
        self._pid = pid
        if pid is not None and (identity := identify(pid)) is not None:
            with contextlib.suppress(ProcessError):
                self._handle = Handle(identity)
                if self._handle.dead:  # a zombie: its death is no news
                    return
                asyncio.get_running_loop().add_reader(self._handle.fileno(), self._died)
                self.listens = True

    def _died(self) -> None:
        self.close()
        self._told()

    def close(self) -> None:
        """Watch nobody. The process is named no more: it is dead, or another took its place."""
        if self._handle is not None:
            with contextlib.suppress(ProcessError):
                asyncio.get_running_loop().remove_reader(self._handle.fileno())
            self._handle.close()
        self._handle, self._pid, self.listens = None, None, False
