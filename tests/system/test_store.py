"""The store: round trips, durability of acknowledged rows, concurrency and paging."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import sample

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import replace
from console.core.supervision.role_history import fold_events
from console.system.store.sqlite import WAL_SIZE_LIMIT_BYTES
from console.system.store.store import MAX_ID, PAGE_ROWS, Store
from tests.bench.store import fill, journal

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys
from pathlib import Path
from console.core.model.events import Event, EventKind
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store.store import Store, StoreError
store = Store(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    number += 1
    try:
        if number % 2:
            store.add_samples([Sample("queue", Moment(float(number)), {"number": number})])
        else:
            store.add_event(Event(EventKind.NOTICED, Moment(float(number)), reason=str(number)))
    except StoreError:  # a disk that stands still for five seconds: not kept, and not said to be
        continue
    print(number, flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


# --- writing and reading --------------------------------------------------------------------


def test_events_and_samples_round_trip(store: Store) -> None:
    identity = Identity(5, 77, "boot")
    moment = Moment(12.5, 3.25, "boot")
    data = {"a": [1, None]}
    event = Event(EventKind.STARTED, moment, "worker", "cli:ana", "why", identity, 3, data)
    assert store.add_event(event) == 1
    assert store.events() == [replace(event, id=1)]
    one = Sample("queue", moment, {"size": 3, "text": "äöü\x00\ud800"}, "broken \ud800")
    store.add_samples([one])
    (back,) = store.samples("queue")
    assert (back.moment, back.data, back.id) == (moment, one.data, 1)
    assert back.error == "broken \\ud800"


SAID = (EventKind.CONFIRMED, EventKind.RELEASED, EventKind.STARTED, EventKind.DIED, EventKind.ASKED)
ACTORS = ("policy", "cli:ana@pts/3", "cli:bo@pts/1")


@settings(max_examples=200, deadline=None)
@given(said=st.lists(st.tuples(st.sampled_from(SAID), st.sampled_from(ACTORS)), max_size=30))
def test_condensed_events_omit_only_repeated_confirmations(
    said: list[tuple[EventKind, str]],
) -> None:
    store, role = Store(None), Role("worker", "rpa_worker.py")
    for number, (kind, actor) in enumerate(said):
        store.add_event(Event(kind, Moment(float(number)), "worker", actor))
        store.add_event(Event(kind, Moment(float(number)), "watchdog", actor))
    complete, condensed = (
        store.events(role="worker"),
        store.role_events_condensed("worker", 1_000, 1_000),
    )
    assert fold_events(condensed, role) == fold_events(complete, role)
    assert condensed == [one for one in complete if one in condensed]
    repeated = [
        after
        for before, after in pairwise(complete)
        if before.kind is after.kind is EventKind.CONFIRMED and before.actor == after.actor
    ]
    assert len(condensed) + len(repeated) == len(complete)
    store.close()


def test_repeated_confirmations_condense_to_one_event(store: Store) -> None:
    for number in range(50):
        store.add_event(Event(EventKind.CONFIRMED, Moment(float(number)), "worker", "cli:ana"))
    assert [one.id for one in store.role_events_condensed("worker", 50, 2_000)] == [1]
    assert [one.id for one in store.role_events_condensed("worker", 50, 20)] == [31]
    assert [one.id for one in store.role_events_condensed("worker", 25, 10)] == [16]


def test_samples_returns_the_newest_in_ascending_order(store: Store) -> None:
    store.add_samples([sample(n) for n in range(10)] + [sample(99, "canary")])
    assert [one.moment.at for one in store.samples("queue", limit=3)] == [7, 8, 9]
    assert [one.moment.at for one in store.samples("queue", since=Moment(8))] == [8, 9]
    assert [one.id for one in store.samples_after(9)] == [10, 11]
    assert store.last_sample_id() == 11


def test_start_and_death_are_recorded_once_per_process(store: Store) -> None:
    identity = Identity(5, 77, "boot")
    for kind in (EventKind.STARTED, EventKind.DIED):
        event = Event(kind, Moment(1.0), "worker", identity=identity)
        assert store.add_event(event) is not None
        assert store.add_event(event) is None
    assert store.add_event(Event(EventKind.ADOPTED, Moment(1.0), identity=identity)) is None
    again = Event(EventKind.CONFIRMED, Moment(1.0), identity=identity)
    assert store.add_event(again) != store.add_event(again)
    assert len(store.events()) == 4


def test_tokens_never_decrease_and_facts_are_kept(store: Store) -> None:
    for token in (3, 2):
        store.save_token("worker", token)
    assert (store.token("worker"), store.token("queue")) == (3, 0)
    store.set_fact("baseline", {"started": [1.0, 2.0, "boot"]})
    store.set_fact("baseline", None)
    assert (store.get_fact("baseline"), store.get_fact("nothing")) == (None, None)
    store.set_fact("canary", {"for_s": 1.0})
    known = {"canary": {"for_s": 1.0}, "baseline": None, "nothing": None}
    assert store.get_facts(*known) == known


def test_damaged_row_does_not_hide_the_others(store: Store, tmp_path: Path) -> None:
    store.add_samples([sample(1), sample(2)])
    store.add_event(Event(EventKind.NOTICED, Moment(1.0), identity=Identity(1, 2, "b")))
    connection = apsw.Connection(str(tmp_path / "store.sqlite"))
    connection.execute("UPDATE samples SET data = '{\"n\": ' WHERE id = 1")
    connection.execute("UPDATE events SET identity = 'x', kind = 'from the future', data = '[]'")
    connection.close()
    assert [one.data for one in store.samples("queue")] == [{}, {"n": 2}]
    (event,) = store.events()
    assert (event.kind, event.identity, event.data) == (EventKind.NOTICED, None, {})


def test_failed_write_is_rolled_back(store: Store) -> None:
    with pytest.raises(TypeError):
        store.add_samples([sample(1), Sample("queue", Moment(2.0), {"n": object()})])
    assert store.samples("queue") == []
    store.add_samples([sample(3)])
    assert len(store.samples("queue")) == 1


def test_wal_shrinks_after_a_long_reader_finishes(store: Store, tmp_path: Path) -> None:
    """An open read transaction keeps SQLite from checkpointing newer WAL frames."""
    log = journal(tmp_path / "store.sqlite")
    reader = apsw.Connection(str(tmp_path / "store.sqlite"))
    reading = iter(reader.execute("SELECT name FROM sqlite_master"))
    next(reading)
    for number in range(60):
        store.set_fact("large", f"{number}" * 50_000)
    assert log.stat().st_size > WAL_SIZE_LIMIT_BYTES
    reading.close()
    reader.close()
    for number in range(3):
        store.set_fact("small", number)
    assert log.stat().st_size <= WAL_SIZE_LIMIT_BYTES


# --- concurrency ----------------------------------------------------------------------------


def start(path: Path, first: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", "-c", WRITER, str(path), str(first)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
    )


def end(writer: subprocess.Popen[str], seen: list[int]) -> None:
    writer.send_signal(signal.SIGKILL)
    assert writer.stdout is not None
    seen += [int(line) for line in writer.stdout.read().splitlines(True) if line.endswith("\n")]
    writer.wait(10)
    writer.stdout.close()


def kept(path: Path) -> set[int]:
    """Check that the store is undamaged, and return the numbers it holds."""
    reader = Store(path)
    assert reader.find_damage() is None
    found = {int(one.data["number"]) for one in reader.samples("queue")}
    found |= {int(one.reason) for one in reader.events(limit=1_000_000)}
    reader.close()
    return found


def test_acknowledged_rows_survive_fifty_kills(tmp_path: Path) -> None:
    path, rng, acked = tmp_path / "store.sqlite", random.Random(50), list[int]()
    for turn in range(50):
        writer = start(path, turn * 1_000_000)
        assert writer.stdout is not None
        acked.append(int(writer.stdout.readline()))
        time.sleep(rng.uniform(0, 0.02))
        end(writer, acked)
    found = kept(path)
    assert set(acked) <= found
    assert len(acked) > 100
    assert len(found - set(acked)) <= 50  # committed, and killed before the acknowledgement


def test_concurrent_writers_and_a_reader_lose_no_rows(tmp_path: Path) -> None:
    path, acked = tmp_path / "store.sqlite", list[int]()
    writers = [start(path, turn * 1_000_000) for turn in range(4)]
    reader, last = None, 0
    for writer in writers:
        assert writer.stdout is not None
        acked.append(int(writer.stdout.readline()))
    reader = Store(path)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        new = [one.id for one in reader.samples_after(last)]
        assert new == sorted(new)
        last = new[-1] if new else last
    reader.close()
    for writer in writers:
        end(writer, acked)
    assert set(acked) <= kept(path)
    assert last > 0


def test_threads_share_a_store(store: Store) -> None:
    def write(base: int) -> None:
        for number in range(25):
            store.add_samples([sample(base + number)])

    threads = [threading.Thread(target=write, args=(base,)) for base in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.samples("queue")) == 100


def test_change_counter_moves_on_writes_of_any_connection(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "s"), Store(tmp_path / "s")
    seen = [first.change_counter(), first.change_counter()]
    second.add_samples([sample(1)])
    seen.append(first.change_counter())
    first.add_samples([sample(2)])
    seen.append(first.change_counter())
    first.close()
    second.close()
    assert seen[0] == seen[1] < seen[2] < seen[3]


def test_paged_samples_equal_an_unpaged_read(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    # equal moments lie across every page boundary
    ats = [float(n // 7) for n in range(2 * PAGE_ROWS + 3)]
    store.add_samples(Sample("queue", Moment(at), {"n": n}) for n, at in enumerate(ats))
    store.add_samples([Sample("canary", Moment(3.0))])
    for at, until in ((0.0, MAX_ID), (2.0, 140), (5.0, 36), (1e6, MAX_ID)):
        since = Moment(at)
        assert [*store.iter_samples("queue", since, until)] == store.samples(
            "queue", since, until_id=until
        )
    store.close()


def test_paged_events_honour_limits_and_filters(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    kinds = (EventKind.NOTICED, EventKind.CONFIRMED)
    for n in range(2 * PAGE_ROWS + 3):
        store.add_event(Event(kinds[n % 3 > 0], Moment(float(n)), "b" if n % 5 else "a"))
    every = store.events()
    assert [one.id for one in every] == [*range(1, 2 * PAGE_ROWS + 4)]
    for most in (0, 1, PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 2 * PAGE_ROWS, 9 * PAGE_ROWS):
        assert store.events(limit=most) == every[len(every) - min(most, len(every)) :]
    assert (
        store.events(PAGE_ROWS // 2, until_id=PAGE_ROWS + 10)
        == every[PAGE_ROWS // 2 : PAGE_ROWS + 10]
    )
    few = [one for one in every if one.role == "b" and one.kind is EventKind.CONFIRMED]
    assert len(few) > PAGE_ROWS
    assert store.events(role="b", kinds=kinds[1:]) == few
    store.close()


def test_reading_many_events_does_not_hold_all_raw_rows(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    fill(path, 0.0, lines=20 * PAGE_ROWS)
    store.events(limit=1)
    tracemalloc.start()
    try:
        lines = store.events(limit=20 * PAGE_ROWS)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(lines) == 20 * PAGE_ROWS
    assert most < 1.2 * kept
    store.close()
