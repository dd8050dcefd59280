"""What keeps the daemon from repairing, as its own words for every view: a fact of the store.

Three kinds: a step of repair that fails, storage that does not answer, and a package that has
changed under the running daemon.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from typing import Any

from console import __version__
from console.core.frozen import slotted
from console.core.model import Trouble
from console.runtime.daemon_facts import DAEMON
from console.runtime.supervision.worker_log import WorkerLog
from console.runtime.timers import on_the_second
from console.system.box import Box
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError
from console.system.host import package_files
from console.system.store.store import StoreError
from console.system.threads import aside

LOOK_S, PACKAGE_S = 5.0, 20.0


@slotted
class Troubles:
    """The troubles of this daemon, looked for every few seconds."""

    box: Box
    log: WorkerLog
    tell: Callable[[tuple[Trouble, ...]], None]
    _began: package_files.Installed | None = None
    _package: Trouble | None = None
    _package_due: float = 0.0
    _told: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with self.log.going_on("troubles"):
                await aside(self.look)
            await asyncio.sleep(on_the_second(LOOK_S))

    def look(self) -> None:
        """Find the troubles of now, and tell them if they differ from those told before."""
        self.log.flush()
        found = [Trouble(f"repair.{part}", words) for part, words in self.log.failing.items()]
        found += [Trouble("storage", words) for words in hanging_storage.silent(retry=True)]
        if (changed := self._changed()) is not None:
            found.append(changed)
        self.tell(tuple(found))
        fact = {
            "pid": os.getpid(),
            "version": __version__,
            "troubles": [[one.key, one.words] for one in found],
        }
        if fact != self._told:
            with suppress(StoreError):
                self.box.store.put(DAEMON, fact)
                self._told = fact

    def _changed(self) -> Trouble | None:
        """Whether the package's files are others than those that this daemon was started from."""
        now = self.box.now().tick
        if self._began is not None and now < self._package_due:
            return self._package
        self._package_due = now + PACKAGE_S
        try:
            found = package_files.installed()
        except FileError:
            return self._package  # told as storage
        self._began = self._began or found
        self._package = None
        if found != self._began:
            is_now = "it is gone" if found.version is None else f"it is now version {found.version}"
            if found.version == __version__:
                is_now = f"files of version {__version__} differ"
            words = (
                f"the package at {package_files.ROOT} has changed since the daemon (version "
                f"{__version__}) was started: {is_now}; restart it: rpa-console daemon stop, then "
                "rpa-console daemon start"
            )
            self._package = Trouble("package", words)
        return self._package
