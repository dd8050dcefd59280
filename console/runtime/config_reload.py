"""Reloads the configuration file while the process runs.

New settings replace the old ones in place: the process keeps its lease, its history and its timers.
A changed file is applied or rejected with a reason; the process that runs the monitors records
either as an event. A process that follows the daemon applies a file only after the daemon has
applied it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from console import __version__
from console.core.model.events import EventKind
from console.core.model.roles import LeaseState, Role
from console.core.records import Component, field
from console.runtime.snapshots.store_view import StoreView
from console.runtime.timers import WakeupEvent, align_delay
from console.system import clock, daemon_settings
from console.system.box import Box, slot_name
from console.system.config.difference import describe_differences, digest_settings
from console.system.config.schema import Settings
from console.system.config.watched_file import FileStamp
from console.system.daemon_settings import DaemonSettings
from console.system.locks import lease
from console.system.threads import run_in_thread

POLL_INTERVAL_S = 2.0
"""Interval between checks of the file. A change is applied after two checks with the same stamp."""
RESTART_REQUIRED_ROLE_KEYS = ("command", "cwd", "env")
"""Keys of a role whose change does not affect a running process until its restart."""

REOPEN_REQUIRED_SCREEN_KEYS = ("theme", "keys", "mouse")

WriteLog = Callable[[str, str], None]


class ConfigReloader(Component):
    """Reloader of the configuration file of one box."""

    box: Box
    view: StoreView
    on_applied: Callable[[], None]
    """Called on the event loop after new settings were applied."""
    write_log: WriteLog | None = None
    """Writes (message, level) to the log. Set only in the process that runs the monitors, which
    also records events and writes the `DaemonSettings` record."""
    _wakeup: WakeupEvent = field(default_factory=WakeupEvent)
    _previous_stamp: FileStamp = ()
    _reported_reason: str = ""

    async def run(self) -> None:
        """Check the file every `POLL_INTERVAL_S` until cancelled."""
        await run_in_thread(self.box.watched_config.start_watching)
        await run_in_thread(self._write_daemon_settings)
        while True:
            await self._wakeup.wait(align_delay(POLL_INTERVAL_S))
            requested = self._wakeup.is_triggered
            self._wakeup.clear()
            previous_settings = self.box.settings
            try:
                message = await run_in_thread(self._check_file, requested)
            except Exception as error:  # the settings in force are kept
                message = self._reject(f"{type(error).__name__}: {error}")
            if self.box.settings is not previous_settings:
                self.on_applied()
            if message and self.write_log:
                level = "WARN" if self.box.watched_config.not_applied_reason else "INFO"
                await run_in_thread(self.write_log, message, level)

    def reload(self) -> None:
        """Check the file at once, and apply its settings if they are valid.

        This also applies settings that need an operator's confirmation.
        """
        self._wakeup.trigger()

    def _check_file(self, requested: bool) -> str:
        """Check the file once. Return the message to log, or an empty string.

        Runs in a thread.
        """
        configured = self.box.watched_config
        settings = configured.reload_if_changed()
        unchanged, self._previous_stamp = configured.stamp == self._previous_stamp, configured.stamp
        if not (unchanged or requested):
            return ""
        if configured.file_error:
            return self._reject(configured.file_error)
        if settings == self.box.settings:
            self._mark_in_force(requested)
            return ""
        reason = self._daemon_lag_reason()
        if self.write_log and not requested:
            reason = self._confirmation_reason(settings)
        return self._reject(reason) if reason else self._apply(settings)

    def _daemon_lag_reason(self) -> str | None:
        """Return why the daemon has not applied the file as it is now.

        None if it has, or if the daemon is this process, is not running or reads another file.
        """
        record, configured, daemon = (
            daemon_settings.read(self.box.paths.state),
            self.box.watched_config,
            self.view.daemon_view(),
        )
        if self.write_log or record is None or not daemon.running or record.pid != daemon.pid:
            return None
        if record.config != str(configured.path) or record.stamp == configured.stamp:
            return None
        return record.not_applied_reason or "the daemon has not taken it over yet"

    def _confirmation_reason(self, settings: Settings) -> str | None:
        """Return why these settings need an operator's confirmation (`daemon reload`), or None.

        They need it if they remove a role whose lease is held.
        """
        removed_names = self.box.settings.roles.keys() - settings.roles.keys()
        for role in self.box.roles:
            if role.name in removed_names and (holder := self._lease_holder(role)):
                return (
                    f"roles.{role.name} is gone from {self.box.watched_config.path}, but {holder} "
                    "runs and would be watched no more; to take it over nevertheless: daemon reload"
                )
        return None

    def _lease_holder(self, role: Role) -> str | None:
        for slot in range(role.count):
            name = slot_name(role, slot)
            role_lease = lease.read_lease(self.box.paths.lease(name), self.box.paths.owner(name))
            if role_lease.state is LeaseState.HELD:
                return f"PID {role_lease.owner.identity.pid}" if role_lease.owner else "its process"
        return None

    def _apply(self, settings: Settings) -> str:
        differences = describe_differences(
            digest_settings(self.box.settings), digest_settings(settings)
        )
        self.view.reconfigure(settings)
        self._mark_in_force(True)
        message = f"configuration taken over from {self.box.config_path}: {'; '.join(differences)}"
        keys = [difference.partition(":")[0].split(".") for difference in differences]
        if any(
            key[0] == "roles" and key[2:3] and key[2] in RESTART_REQUIRED_ROLE_KEYS for key in keys
        ):
            message += "; a process that runs keeps those it was started with"
        if any(key[0] == "screen" and key[1] in REOPEN_REQUIRED_SCREEN_KEYS for key in keys):
            message += "; an open console keeps its theme, keys and mouse until it is opened again"
        return self._record_event(message)

    def _mark_in_force(self, write: bool) -> None:
        """Mark the file as the source of the settings in force.

        Writes the `DaemonSettings` record if that changed, or if `write` is true.
        """
        configured = self.box.watched_config
        changed = configured.applied_stamp != configured.stamp or bool(
            configured.not_applied_reason
        )
        configured.applied_stamp, configured.not_applied_reason, self._reported_reason = (
            configured.stamp,
            "",
            "",
        )
        if changed or write:
            self._write_daemon_settings()

    def _reject(self, reason: str) -> str:
        self.box.watched_config.not_applied_reason = reason
        if reason == self._reported_reason:
            return ""
        self._reported_reason = reason
        self._write_daemon_settings()
        return self._record_event(f"configuration not taken over: {reason}")

    def _record_event(self, message: str) -> str:
        if self.write_log:
            self.box.record_or_queue(EventKind.NOTICED, actor="daemon", reason=message[:2000])
        return message

    def _write_daemon_settings(self) -> None:
        """Write the settings in force, for every other process of this box.

        Does nothing unless this process runs the monitors.
        """
        if not self.write_log:
            return
        configured = self.box.watched_config
        record = DaemonSettings(
            os.getpid(),
            clock.boot_id(),
            str(configured.path) if configured.path else None,
            configured.applied_stamp,
            __version__,
            configured.not_applied_reason,
            not self.view.monitors_run_in_console,
            digest_settings(self.box.settings),
        )
        with contextlib.suppress(OSError):
            daemon_settings.write(self.box.paths.state, record)
