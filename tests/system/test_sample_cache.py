"""The sample cache: an incremental window equals one read in full."""

from __future__ import annotations

from pathlib import Path

import apsw
from store_helpers import sample

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store.sample_cache import SampleCache
from console.system.store.store import Store

KEYS = ("size",)


def test_window_reads_only_new_samples(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    store.add_samples(Sample("queue", Moment(float(n)), {"size": n, "more": n}) for n in range(100))
    recent = SampleCache(store)
    read: list[str] = []
    first = recent.window("queue", KEYS, Moment(100.0), 50.0)
    assert [*first["size"]] == [float(n) for n in range(50, 100)]
    store._connection.set_exec_trace(lambda *call: read.append(str(call[1])) or True)
    store.add_samples([sample(100, "canary"), Sample("queue", Moment(100.0), {"size": 1})])
    again = recent.window("queue", KEYS, Moment(110.0), 50.0)
    assert [*again.ages(Moment(110.0))] == [110.0 - n for n in range(60, 101)]
    assert [*first["size"]] == [float(n) for n in range(50, 100)], "not a copy"
    assert not any("monitor = ?" in sql for sql in read)
    store._connection.set_exec_trace(None)
    assert (
        recent.window("canary", (), Moment(110.0), 50.0).last_moment == sample(100, "canary").moment
    )
    # a longer window is read in full
    assert len(recent.window("queue", KEYS, Moment(110.0), 90.0)) == 81
    store.close()


def test_cache_reloads_after_the_store_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    store.add_samples([sample(1), sample(2)])
    recent = SampleCache(store)
    assert len(recent.window("queue", KEYS, Moment(3.0), 10.0)) == 2
    for file in tmp_path.iterdir():
        file.unlink()
    store.add_samples([sample(3)])
    assert [*recent.window("queue", KEYS, Moment(4.0), 10.0).ages(Moment(4.0))] == [1.0]
    store.close()
    assert apsw.Connection(str(path)).execute("SELECT count(*) FROM samples").fetchall() == [(1,)]
