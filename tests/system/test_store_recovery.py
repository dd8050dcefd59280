"""A damaged store is renamed once, by a process that may repair it, and replaced."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest
from store_helpers import sample

from console.core.model.events import Event, EventKind
from console.core.model.time import Moment
from console.system.store import recovery
from console.system.store.store import Store, StoreDamagedError, StoreVersionError

GARBAGE = b"this was a database once" * 400


def damage(path: Path, how: str) -> bytes:
    """Create a store of 2,000 samples and one event, damage it, and return its bytes."""
    store = Store(path)
    store.add_event(Event(EventKind.NOTICED, Moment(1.0), reason="before"))
    store.set_fact("wish", 1)
    store.add_samples(sample(n) for n in range(2_000))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        if how == "garbage":
            file.truncate(0)
            file.write(GARBAGE)
        elif how == "truncated":
            file.truncate(size // 2)
        else:
            file.seek(size // 2)
            file.write(os.urandom(size // 4))
    return path.read_bytes()


@pytest.mark.parametrize("how", ["garbage", "truncated", "overwritten"])
def test_damaged_store_is_kept_unchanged_and_replaced(tmp_path: Path, how: str) -> None:
    path = tmp_path / "store.sqlite"
    before = damage(path, how)
    store = Store(path, repair=True)
    store.repair_if_damaged()
    (kept,) = recovery.list_damaged_stores(path)
    assert kept.read_bytes() == before
    events = store.events()
    assert (
        "damaged" in events[-1].reason
        or "malformed" in events[-1].reason
        or "***" in events[-1].reason
    )
    assert f"sqlite3 {kept} .recover" in events[-1].reason
    assert events[-1].data["kept"] == str(kept)
    if how != "garbage":  # rows before the damage are carried over
        assert events[0].reason == "before"
        assert store.get_fact("wish") == 1
    store.add_samples([sample(9_999)])
    assert store.find_damage() is None
    store.close()


def test_damage_found_by_a_read_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    damage(path, "overwritten")
    store, reader = Store(path, repair=True), Store(path)
    assert len(store.samples("queue")) < 2_000
    assert store.generation == 1
    store.add_samples([sample(9_999)])
    assert reader.samples("queue")[-1].moment.at == 9_999
    assert len(recovery.list_damaged_stores(path)) == 1
    store.close()
    reader.close()


def test_store_without_repair_leaves_the_damaged_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    before = damage(path, "garbage")
    with pytest.raises(StoreDamagedError):
        Store(path)
    fallback = Store(path, memory_fallback=True)
    assert fallback.fallback_reason is not None
    assert "damaged or not a database" in fallback.fallback_reason
    fallback.add_samples([sample(1)])
    assert len(fallback.samples("queue")) == 1
    fallback.close()
    assert path.read_bytes() == before
    assert {*os.listdir(tmp_path)} == {"store.lock", "store.sqlite"}


def test_newer_schema_is_not_treated_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    Store(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(StoreVersionError):
        Store(path, repair=True, memory_fallback=True)
    assert recovery.list_damaged_stores(path) == []


def test_concurrent_repairs_move_the_damaged_store_once(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(GARBAGE)
        barrier, gate = os.pipe()
        children = [_opener(path, barrier, gate) for _ in range(6)]
        os.close(barrier)
        os.close(gate)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
        assert [kept.read_bytes() for kept in recovery.list_damaged_stores(path)] == [GARBAGE]
        store = Store(path)
        kinds = [event.kind for event in store.events()]
        assert sorted(kinds) == [EventKind.DAEMON_STARTED] * 6 + [EventKind.NOTICED]
        store.close()


def _opener(path: Path, barrier: int, gate: int) -> int:
    """Fork a child that opens the store once the gate closes and adds an event; return its PID."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.close(gate)
        os.read(barrier, 1)
        store = Store(path, repair=True)
        store.add_event(Event(EventKind.DAEMON_STARTED, Moment(1.0)))
        store.close()
        code = 0
    finally:
        os._exit(code)


def test_memory_fallback_is_saved_when_the_file_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.system.store.database.REOPEN_DELAY_S", 0.0)
    path = tmp_path / "store.sqlite"
    path.mkdir()
    store = Store(path, memory_fallback=True)
    store.add_samples([sample(1)])
    assert store.add_event(Event(EventKind.NOTICED, Moment(1.0))) is not None
    store.set_fact("wish", 1)
    assert store.fallback_reason is not None
    path.rmdir()
    before = store.change_counter()
    store.add_samples([sample(2)])
    assert store.fallback_reason is None
    assert store.change_counter() != before
    store.close()
    again = Store(path)
    assert [one.moment.at for one in again.samples("queue")] == [1, 2]
    assert "what was kept in memory is saved now" in again.events()[-1].reason
    assert (len(again.events()), again.get_fact("wish")) == (2, 1)
    again.close()
