"""Reports the reasons that keep the daemon from repairing, as a fact of the store for every view.

There are three kinds: a repair step that fails, storage that does not respond, and a package whose
files have changed since the daemon was started.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from console import __version__
from console.core.model.views import Trouble
from console.core.records import Component, field
from console.runtime.daemon_facts import DAEMON_FACT
from console.runtime.supervision.worker_log import WorkerLog
from console.runtime.timers import align_delay
from console.system.box import Box
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError
from console.system.host import package_files
from console.system.store.store import StoreError
from console.system.threads import run_in_thread

CHECK_INTERVAL_S, PACKAGE_CHECK_INTERVAL_S = 5.0, 20.0


class TroubleReporter(Component):
    """Reporter of the troubles of this daemon, which it checks every few seconds."""

    box: Box
    log: WorkerLog
    publish: Callable[[tuple[Trouble, ...]], None]
    _installed_at_start: package_files.InstalledPackage | None = None
    _package_trouble: Trouble | None = None
    _package_check_due_at: float = 0.0
    _stored_fact: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> None:
        """Check every `CHECK_INTERVAL_S` until cancelled."""
        while True:
            with self.log.catch_failures("troubles"):
                await run_in_thread(self.check)
            await asyncio.sleep(align_delay(CHECK_INTERVAL_S))

    def check(self) -> None:
        """Find the current troubles and publish them. Store them if they have changed."""
        self.log.flush()
        troubles = [
            Trouble(f"repair.{part}", message) for part, message in self.log.failures.items()
        ]
        troubles += [
            Trouble("storage", message)
            for message in hanging_storage.unresponsive_messages(retry=True)
        ]
        if (package_trouble := self._find_package_trouble()) is not None:
            troubles.append(package_trouble)
        self.publish(tuple(troubles))
        fact = {
            "pid": os.getpid(),
            "version": __version__,
            "troubles": [[trouble.key, trouble.message] for trouble in troubles],
        }
        if fact != self._stored_fact:
            with suppress(StoreError):
                self.box.store.set_fact(DAEMON_FACT, fact)
                self._stored_fact = fact

    def _find_package_trouble(self) -> Trouble | None:
        """Return a trouble if the package's files have changed since this daemon was started.

        None if they are the same.
        """
        now = self.box.now().tick
        if self._installed_at_start is not None and now < self._package_check_due_at:
            return self._package_trouble
        self._package_check_due_at = now + PACKAGE_CHECK_INTERVAL_S
        try:
            installed = package_files.read_installed()
        except FileError:
            return self._package_trouble  # reported as a storage trouble
        self._installed_at_start = self._installed_at_start or installed
        self._package_trouble = None
        if installed != self._installed_at_start:
            is_now = (
                "it is gone"
                if installed.version is None
                else f"it is now version {installed.version}"
            )
            if installed.version == __version__:
                is_now = f"files of version {__version__} differ"
            message = (
                f"the package at {package_files.PACKAGE_ROOT} has changed since the daemon "
                f"(version {__version__}) was started: {is_now}; restart it: "
                "rpa-console daemon stop, then rpa-console daemon start"
            )
            self._package_trouble = Trouble("package", message)
        return self._package_trouble
