"""Lines of the ledger that wait for a store that takes them."""

from __future__ import annotations

from pathlib import Path

from console.core.model import Command, Event, EventKind, Identity, Moment, Outcome, Verb
from console.system.store.event_outbox import Lines
from console.system.store.store import Store


def line(kind: EventKind, reason: str = "", pid: int = 1) -> Event:
    return Event(kind, Moment(1.0), "worker", "cli:ana", reason, Identity(pid, 1, "b"))


def test_they_are_written_in_their_order_once_they_can_be(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    lines = Lines(store)
    store.write([("ALTER TABLE events RENAME TO gone", ())])
    lines.keep(line(EventKind.ASKED, "1"))
    lines.keep(line(EventKind.DIED, "2"))
    lines.keep(line(EventKind.DIED, "the same death"))
    lines.keep(line(EventKind.DIED, "3", pid=2))
    assert lines.trouble is not None
    assert [one.reason for one in lines.waiting("worker")] == ["1", "2", "3"]
    assert lines.waiting("queue") == []
    killed = lines.caution(Command(Verb.KILL, "worker", "cli:ana"), Outcome(True, "ended"))
    assert killed.message.startswith("ended; not in the ledger, so policy may start it again: ")
    store.write([("ALTER TABLE gone RENAME TO events", ())])
    lines.catch_up()
    assert lines.trouble is None
    assert [one.reason for one in store.events()] == ["1", "2", "3"]
    assert lines.caution(Command(Verb.KILL, "worker", "a"), Outcome(True, "x")).message == "x"
    store.close()
