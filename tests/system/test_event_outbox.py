"""Tests of events that wait until the store accepts them."""

from __future__ import annotations

from pathlib import Path

from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.time import Moment
from console.system.store.event_outbox import EventOutbox
from console.system.store.store import Store


def line(kind: EventKind, reason: str = "", pid: int = 1) -> Event:
    return Event(kind, Moment(1.0), "worker", "cli:ana", reason, Identity(pid, 1, "b"))


def test_queued_events_are_written_in_order_once_the_store_accepts_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    lines = EventOutbox(store)
    store.write([("ALTER TABLE events RENAME TO gone", ())])
    lines.write_or_queue(line(EventKind.ASKED, "1"))
    lines.write_or_queue(line(EventKind.DIED, "2"))
    lines.write_or_queue(line(EventKind.DIED, "the same death"))
    lines.write_or_queue(line(EventKind.DIED, "3", pid=2))
    assert lines.write_error is not None
    assert [one.reason for one in lines.pending_events("worker")] == ["1", "2", "3"]
    assert lines.pending_events("queue") == []
    killed = lines.add_warning(Command(Verb.KILL, "worker", "cli:ana"), Outcome(True, "ended"))
    assert killed.message.startswith("ended; not in the ledger, so policy may start it again: ")
    store.write([("ALTER TABLE gone RENAME TO events", ())])
    lines.flush()
    assert lines.write_error is None
    assert [one.reason for one in store.events()] == ["1", "2", "3"]
    assert lines.add_warning(Command(Verb.KILL, "worker", "a"), Outcome(True, "x")).message == "x"
    store.close()
