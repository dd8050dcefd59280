"""A changed configuration: announced, taken over between two looks, or refused with the reason.

The process goes on with its lease, its history and its timers: the settings are exchanged. A
process that follows the daemon goes by the settings that the daemon goes by.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import field

from console import __version__
from console.core.frozen import slotted
from console.core.model import EventKind, LeaseState, Role
from console.runtime.snapshots.store_view import View
from console.runtime.timers import Bell, on_the_second
from console.system import clock, daemon_settings
from console.system.box import Box, slot_name
from console.system.config.difference import differences, digested
from console.system.config.schema import Settings
from console.system.config.watched_file import Stamp
from console.system.daemon_settings import DaemonSettings
from console.system.locks import lease
from console.system.threads import aside

LOOK_S = 2.0
"""How often the file is looked at. A change is taken over once it has stood for one look."""
KEPT_BY_A_PROCESS = ("command", "cwd", "env")
"""Keys of a role that a process keeps as they were when it was started."""

KEPT_BY_A_CONSOLE = ("theme", "keys", "mouse")

Log = Callable[[str, str], None]


@slotted
class Reloading:
    """Watches the configuration file of one box."""

    box: Box
    view: View
    taken: Callable[[], None]
    """Called on the loop when other settings are in force."""
    log: Log | None = None
    """Given to the process that runs the monitors: it writes ledger, log and record, too."""
    _bell: Bell = field(default_factory=Bell)
    _seen: Stamp = ()
    _told: str = ""

    async def run(self) -> None:
        """Look at the file until cancelled."""
        await aside(self.box.configured.begin)
        await aside(self._write)
        while True:
            await self._bell.wait(on_the_second(LOOK_S))
            asked = self._bell.rung
            self._bell.heard()
            before = self.box.settings
            try:
                words = await aside(self._look, asked)
            except Exception as error:  # the settings in force go on
                words = self._refuse(f"{type(error).__name__}: {error}")
            if self.box.settings is not before:
                self.taken()
            if words and self.log:
                level = "WARN" if self.box.configured.trouble else "INFO"
                await aside(self.log, words, level)

    def reload(self) -> None:
        """Look now, and take over whatever can be used."""
        self._bell.ring()

    def _look(self, asked: bool) -> str:
        """One look, in a thread; what is to be told of it."""
        configured = self.box.configured
        settings = configured.look()
        stood, self._seen = configured.stamp == self._seen, configured.stamp
        if not (stood or asked):
            return ""
        if configured.mistake:
            return self._refuse(configured.mistake)
        if settings == self.box.settings:
            self._agree(asked)
            return ""
        reason = self._behind()
        if self.log and not asked:
            reason = self._unsafe(settings)
        return self._refuse(reason) if reason else self._take(settings)

    def _behind(self) -> str | None:
        """Why the daemon, if another process is it, does not go by the file as it is by now."""
        record, configured, daemon = (
            daemon_settings.read(self.box.paths.state), self.box.configured, self.view.daemon()
        )  # fmt: skip
        if self.log or record is None or not daemon.running or record.pid != daemon.pid:
            return None
        if record.config != str(configured.path) or record.stamp == configured.stamp:
            return None
        return record.trouble or "the daemon has not taken it over yet"

    def _unsafe(self, settings: Settings) -> str | None:
        """Why these settings are taken over only when a person asks for it."""
        gone = self.box.settings.roles.keys() - settings.roles.keys()
        for role in self.box.roles:
            if role.name in gone and (holder := self._holder(role)):
                return (
                    f"roles.{role.name} is gone from {self.box.configured.path}, but {holder} runs "
                    "and would be watched no more; to take it over nevertheless: daemon reload"
                )
        return None

    def _holder(self, role: Role) -> str | None:
        for slot in range(role.count):
            name = slot_name(role, slot)
            held = lease.look(self.box.paths.lease(name), self.box.paths.owner(name))
            if held.state is LeaseState.HELD:
                return f"PID {held.owner.identity.pid}" if held.owner else "its process"
        return None

    def _take(self, settings: Settings) -> str:
        found = differences(digested(self.box.settings), digested(settings))
        self.view.reconfigure(settings)
        self._agree(True)
        words = f"configuration taken over from {self.box.config}: {'; '.join(found)}"
        keys = [one.partition(":")[0].split(".") for one in found]
        if any(key[0] == "roles" and key[2:3] and key[2] in KEPT_BY_A_PROCESS for key in keys):
            words += "; a process that runs keeps those it was started with"
        if any(key[0] == "screen" and key[1] in KEPT_BY_A_CONSOLE for key in keys):
            words += "; an open console keeps its theme, keys and mouse until it is opened again"
        return self._tell(words)

    def _agree(self, write: bool) -> None:
        """The file says what is in force."""
        configured = self.box.configured
        changed = configured.in_force != configured.stamp or bool(configured.trouble)
        configured.in_force, configured.trouble, self._told = configured.stamp, "", ""
        if changed or write:
            self._write()

    def _refuse(self, reason: str) -> str:
        self.box.configured.trouble = reason
        if reason == self._told:
            return ""
        self._told = reason
        self._write()
        return self._tell(f"configuration not taken over: {reason}")

    def _tell(self, words: str) -> str:
        if self.log:
            self.box.tell(EventKind.NOTICED, "", "daemon", words[:2000])
        return words

    def _write(self) -> None:
        """Say what we go by, to every other process of this box."""
        if not self.log:
            return
        configured = self.box.configured
        record = DaemonSettings(
            os.getpid(),
            clock.boot_id(),
            str(configured.path) if configured.path else None,
            configured.in_force,
            __version__,
            configured.trouble,
            not self.view.here,
            digested(self.box.settings),
        )
        with contextlib.suppress(OSError):
            daemon_settings.write(self.box.paths.state, record)
