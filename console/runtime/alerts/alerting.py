"""Records transitions of alerts as events, writes alert files, and notifies the hook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from console.core import alerts
from console.core.alerts import UnconfirmedAlerts
from console.core.model.events import Event, EventKind
from console.core.model.snapshot import Snapshot
from console.core.model.views import Alert, Severity
from console.core.records import Component, field, replace
from console.core.secret_redaction import redact
from console.core.text.command_hint import format_command
from console.core.text.formatting import format_date_time
from console.runtime.alerts.hook_notifier import (
    NOTIFIED_FACT,
    RAISED,
    RESOLVED,
    pending_notifications,
)
from console.runtime.baseline import runs
from console.system.box import Box
from console.system.files.outside_files import GROUP_MODE, OutsideDirectory
from console.system.files.safe_files import FileError
from console.system.store.store import StoreError

MAX_EVENTS = 10_000
"""Events about alerts that are read at the start."""
ACTOR = "daemon"


class AlertManager(Component):
    """Manager that keeps event log, files and hook consistent with the open alerts.

    A box has one, in the daemon.
    """

    box: Box
    _watch: UnconfirmedAlerts = UnconfirmedAlerts()
    _open_alerts: tuple[Alert, ...] = ()
    _last_event_id: int | None = None
    """Id of the last event that was read; None before the first update."""
    _unwritten_events: list[Event] = field(default_factory=list)
    """Events that the store has not taken yet."""
    _written_files: dict[str, str] = field(default_factory=dict)
    """Name -> text of the alert files as last written."""
    _files_directory: Path | None = None
    """Directory of those files."""

    @property
    def open_alerts(self) -> tuple[Alert, ...]:
        """The open alerts, worst first."""
        return self._open_alerts

    def update(self, snapshot: Snapshot) -> list[tuple[str, Alert]]:
        """Process one snapshot. Return (state, alert) of each change to notify the hook of."""
        notifications = self._read_new_events()
        thresholds = runs.effective_thresholds(self.box)
        self._watch, raised, resolved = alerts.update_alerts(
            self._watch, self._open_alerts, snapshot, thresholds
        )
        self._open_alerts = alerts.update_reasons(
            self._open_alerts, alerts.detect_alerts(snapshot, thresholds)
        )
        for alert in raised:
            self._record_transition(EventKind.ALERT_RAISED, alert, snapshot)
        for alert in resolved:
            self._record_transition(EventKind.ALERT_RESOLVED, alert, snapshot)
        keys = {alert.key for alert in raised}
        notifications += [(RAISED, alert) for alert in self._open_alerts if alert.key in keys]
        self._write_files()
        return notifications + [(RESOLVED, alert) for alert in resolved]

    # --- event log -------------------------------------------------------------------------

    def _read_new_events(self) -> list[tuple[str, Alert]]:
        """Read the events of other processes: an operator may have acknowledged an alert.

        The first call returns the (state, alert) that the hook has missed.
        """
        with contextlib.suppress(StoreError):
            after, is_first = self._last_event_id or 0, self._last_event_id is None
            events = self.box.store.events(after, kinds=alerts.ALERT_KINDS, limit=MAX_EVENTS)
            self._last_event_id = events[-1].id if events else after
            self._open_alerts = alerts.fold_open_alerts(
                [*events, *self._unwritten_events], self._open_alerts
            )
            self._write_events()
            if is_first:
                past_alerts = _past_alerts(events)
                self._written_files = dict.fromkeys(map(alert_file_name, past_alerts), "")
                notified = self.box.store.get_fact(NOTIFIED_FACT)
                if notified is None:
                    self.box.store.set_fact(
                        NOTIFIED_FACT, {alert.key: alert.event_id for alert in self._open_alerts}
                    )
                return [*pending_notifications(notified, self._open_alerts, past_alerts)]
        return []

    def _record_transition(self, kind: EventKind, alert: Alert, snapshot: Snapshot) -> None:
        """Record one transition, now or as soon as the store takes it."""
        role = alert.subject if snapshot.role(alert.subject) else ""
        data = {"key": alert.key, "severity": alert.severity.value, "title": alert.title}
        if kind is EventKind.ALERT_RESOLVED:
            data["alert"] = alert.event_id  # type: ignore[assignment]
        reason = alert.reason if kind is EventKind.ALERT_RAISED else alert.title
        event = Event(kind, snapshot.moment, role, ACTOR, reason, data=data)
        self._unwritten_events.append(event)
        self._open_alerts = alerts.fold_open_alerts([event], self._open_alerts)
        self._write_events()

    def _write_events(self) -> None:
        with contextlib.suppress(StoreError):
            while self._unwritten_events:
                event = self._unwritten_events[0]
                event_id = self.box.store.add_event(event)
                del self._unwritten_events[0]
                key = event.data["key"]
                if event.kind is EventKind.ALERT_RAISED:
                    self._open_alerts = tuple(
                        replace(alert, event_id=event_id or 0) if alert.key == key else alert
                        for alert in self._open_alerts
                    )

    # --- files -----------------------------------------------------------------------------

    @property
    def alerts_directory(self) -> Path:
        """Directory of the alert files."""
        return self.box.outputs_dir / "alerts"

    def _write_files(self) -> None:
        """Write a file for each open alert, and remove all others.

        A failed write or removal is tried again at the next update.
        """
        self._remove_files_of_old_directory()
        wanted = {alert_file_name(alert): self._file_text(alert) for alert in self._open_alerts}
        for name, text in wanted.items():
            if self._written_files.get(name) != text:
                with contextlib.suppress(FileError):
                    self.box.outside_directory.write(self.alerts_directory / name, text, GROUP_MODE)
                    self._written_files[name] = text
        for name in self._written_files.keys() - wanted.keys():
            with contextlib.suppress(FileError):
                self.box.outside_directory.remove(self.alerts_directory / name)
                del self._written_files[name]

    def _remove_files_of_old_directory(self) -> None:
        """Remove the files from the old directory after the settings name another one."""
        old_directory, self._files_directory = self._files_directory, self.alerts_directory
        if old_directory is not None and old_directory != self.alerts_directory:
            for name in self._written_files:
                with contextlib.suppress(FileError):
                    OutsideDirectory(old_directory.parent).remove(old_directory / name)
            self._written_files.clear()

    def _file_text(self, alert: Alert) -> str:
        lines = [
            f"{alert.severity.value.upper()}: {alert.title}",
            alert.reason,
            f"since {format_date_time(alert.since)} on {self.box.host}, "
            f"ledger line {alert.event_id}",
            f"acknowledged by {alert.acknowledged}" if alert.acknowledged else "",
            format_command(f"alerts ack {alert.key}"),
        ]
        return redact("\n".join(filter(None, lines)) + "\n")


def _past_alerts(events: Iterable[Event]) -> list[Alert]:
    """Return the alerts that were ever raised.

    A daemon that was killed may have left their files, or not have notified the hook.
    """
    raised = [event for event in events if event.kind is EventKind.ALERT_RAISED]
    return [alert for event in raised for alert in alerts.fold_open_alerts([event])]


def alert_file_name(alert: Alert) -> str:
    """Return a name like `CRITICAL_worker.down.txt`.

    A manipulated key in the event log cannot name a file in another directory.
    """
    key = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_"
                  for char in alert.key)  # fmt: skip
    return f"{Severity(alert.severity).value.upper()}_{key[:100]}.txt"
