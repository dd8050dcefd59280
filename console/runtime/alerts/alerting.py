"""The daemon's side of alerts: transitions into the ledger, files for whoever looks, the hook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import field
from pathlib import Path

from console.core import alerts
from console.core.alerts import Watch
from console.core.frozen import replace, slotted
from console.core.model import Alert, Event, EventKind, Severity, Snapshot
from console.core.secret_redaction import redact
from console.core.text.command_hint import step
from console.core.text.formatting import day_clock
from console.runtime.alerts.hook_notifier import RAISED, RESOLVED, TOLD, owed
from console.runtime.baseline import runs
from console.system.box import Box
from console.system.files.outside_files import GROUP, Door
from console.system.files.safe_files import FileError
from console.system.store.store import StoreError

PAST = 10_000
"""Lines about alerts that are read at the start."""
ACTOR = "daemon"


@slotted
class Alerting:
    """Keeps ledger, files and hook true to what stands. One of them for a box: the daemon's."""

    box: Box
    _watch: Watch = Watch()
    _stand: tuple[Alert, ...] = ()
    _cursor: int | None = None
    """The last line of the ledger that was read; None before the first look."""
    _unwritten: list[Event] = field(default_factory=list)
    """What the store has not taken yet."""
    _files: dict[str, str] = field(default_factory=dict)
    """Name -> text of the alert files as we have left them."""
    _place: Path | None = None
    """Where they are."""

    @property
    def stand(self) -> tuple[Alert, ...]:
        """What stands, worst first."""
        return self._stand

    def look(self, snapshot: Snapshot) -> list[tuple[str, Alert]]:
        """One more look: (state, alert) of whatever a hook should be told of."""
        told = self._catch_up()
        learnt = runs.in_force(self.box)
        self._watch, raised, resolved = alerts.step(self._watch, self._stand, snapshot, learnt)
        self._stand = alerts.current(self._stand, alerts.findings(snapshot, learnt))
        for alert in raised:
            self._turn(EventKind.ALERT_RAISED, alert, snapshot)
        for alert in resolved:
            self._turn(EventKind.ALERT_RESOLVED, alert, snapshot)
        keys = {alert.key for alert in raised}
        told += [(RAISED, alert) for alert in self._stand if alert.key in keys]
        self._write_files()
        return told + [(RESOLVED, alert) for alert in resolved]

    # --- the ledger ------------------------------------------------------------------------

    def _catch_up(self) -> list[tuple[str, Alert]]:
        """What others have written since: a person may have acknowledged one."""
        with contextlib.suppress(StoreError):
            after, first = self._cursor or 0, self._cursor is None
            events = self.box.store.events(after, kinds=alerts.KINDS, limit=PAST)
            self._cursor = events[-1].id if events else after
            self._stand = alerts.standing([*events, *self._unwritten], self._stand)
            self._save()
            if first:
                past = _past(events)
                self._files = dict.fromkeys(map(file_name, past), "")
                marks = self.box.store.get(TOLD)
                if marks is None:
                    self.box.store.put(TOLD, {alert.key: alert.event for alert in self._stand})
                return [*owed(marks, self._stand, past)]
        return []

    def _turn(self, kind: EventKind, alert: Alert, snapshot: Snapshot) -> None:
        """Write one transition: now, or as soon as the store takes it."""
        role = alert.subject if snapshot.role(alert.subject) else ""
        data = {"key": alert.key, "severity": alert.severity.value, "title": alert.title}
        if kind is EventKind.ALERT_RESOLVED:
            data["alert"] = alert.event  # type: ignore[assignment]
        reason = alert.reason if kind is EventKind.ALERT_RAISED else alert.title
        event = Event(kind, snapshot.moment, role, ACTOR, reason, data=data)
        self._unwritten.append(event)
        self._stand = alerts.standing([event], self._stand)
        self._save()

    def _save(self) -> None:
        with contextlib.suppress(StoreError):
            while self._unwritten:
                event = self._unwritten[0]
                written = self.box.store.add_event(event)
                del self._unwritten[0]
                key = event.data["key"]
                if event.kind is EventKind.ALERT_RAISED:
                    self._stand = tuple(
                        replace(one, event=written or 0) if one.key == key else one
                        for one in self._stand
                    )

    # --- files -----------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the alert files are."""
        return self.box.outputs / "alerts"

    def _write_files(self) -> None:
        """A file for each alert that stands, none for any other; what fails is tried again."""
        self._move()
        wanted = {file_name(alert): self._text(alert) for alert in self._stand}
        for name, text in wanted.items():
            if self._files.get(name) != text:
                with contextlib.suppress(FileError):
                    self.box.door.write(self.directory / name, text, GROUP)
                    self._files[name] = text
        for name in self._files.keys() - wanted.keys():
            with contextlib.suppress(FileError):
                self.box.door.remove(self.directory / name)
                del self._files[name]

    def _move(self) -> None:
        """Leave no file behind when other settings name another directory."""
        left, self._place = self._place, self.directory
        if left is not None and left != self.directory:
            for name in self._files:
                with contextlib.suppress(FileError):
                    Door(left.parent).remove(left / name)
            self._files.clear()

    def _text(self, alert: Alert) -> str:
        lines = [
            f"{alert.severity.value.upper()}: {alert.title}",
            alert.reason,
            f"since {day_clock(alert.since)} on {self.box.host}, ledger line {alert.event}",
            f"acknowledged by {alert.acknowledged}" if alert.acknowledged else "",
            step(f"alerts ack {alert.key}"),
        ]
        return redact("\n".join(filter(None, lines)) + "\n")


def _past(events: Iterable[Event]) -> list[Alert]:
    """The alerts of the past: a daemon that was killed may have left files, or a hook untold."""
    raised = [event for event in events if event.kind is EventKind.ALERT_RAISED]
    return [alert for event in raised for alert in alerts.standing([event])]


def file_name(alert: Alert) -> str:
    """`CRITICAL_worker.down.txt`; a key that the ledger was made to hold leads nowhere else."""
    key = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_"
                  for char in alert.key)  # fmt: skip
    return f"{Severity(alert.severity).value.upper()}_{key[:100]}.txt"
