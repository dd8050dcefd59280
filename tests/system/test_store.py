"""The store: what was acknowledged is there, whoever was killed, and whatever the disk does."""

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
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import sample

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.model.samples import Sample
from console.core.model.time import Moment
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


# --- keeping --------------------------------------------------------------------------------


def test_what_is_written_comes_back_as_it_was(store: Store) -> None:
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
def test_what_only_confirms_what_was_confirmed_adds_nothing(
    said: list[tuple[EventKind, str]],
) -> None:
    ledger, role = Store(None), Role("worker", "rpa_worker.py")
    for number, (kind, actor) in enumerate(said):
        ledger.add_event(Event(kind, Moment(float(number)), "worker", actor))
        ledger.add_event(Event(kind, Moment(float(number)), "watchdog", actor))
    whole, told = ledger.events(role="worker"), ledger.role_events_condensed("worker", 1_000, 1_000)
    assert fold_events(told, role) == fold_events(whole, role)
    assert told == [one for one in whole if one in told]
    repeated = [
        after
        for before, after in pairwise(whole)
        if before.kind is after.kind is EventKind.CONFIRMED and before.actor == after.actor
    ]
    assert len(told) + len(repeated) == len(whole)
    ledger.close()


def test_a_role_ensured_every_minute_is_read_as_one_line(store: Store) -> None:
    for number in range(50):
        store.add_event(Event(EventKind.CONFIRMED, Moment(float(number)), "worker", "cli:ana"))
    assert [one.id for one in store.role_events_condensed("worker", 50, 2_000)] == [1]
    assert [one.id for one in store.role_events_condensed("worker", 50, 20)] == [31]
    assert [one.id for one in store.role_events_condensed("worker", 25, 10)] == [16]


def test_samples_are_the_newest_and_the_oldest_comes_first(store: Store) -> None:
    store.add_samples([sample(n) for n in range(10)] + [sample(99, "canary")])
    assert [one.moment.at for one in store.samples("queue", limit=3)] == [7, 8, 9]
    assert [one.moment.at for one in store.samples("queue", since=Moment(8))] == [8, 9]
    assert [one.id for one in store.samples_after(9)] == [10, 11]
    assert store.last_sample_id() == 11


def test_a_start_and_a_death_are_in_the_ledger_once(store: Store) -> None:
    identity = Identity(5, 77, "boot")
    for kind in (EventKind.STARTED, EventKind.DIED):
        event = Event(kind, Moment(1.0), "worker", identity=identity)
        assert store.add_event(event) is not None
        assert store.add_event(event) is None
    assert store.add_event(Event(EventKind.ADOPTED, Moment(1.0), identity=identity)) is None
    again = Event(EventKind.CONFIRMED, Moment(1.0), identity=identity)
    assert store.add_event(again) != store.add_event(again)
    assert len(store.events()) == 4


def test_a_token_never_falls_and_facts_are_kept(store: Store) -> None:
    for token in (3, 2):
        store.save_token("worker", token)
    assert (store.token("worker"), store.token("queue")) == (3, 0)
    store.set_fact("baseline", {"started": [1.0, 2.0, "boot"]})
    store.set_fact("baseline", None)
    assert (store.get_fact("baseline"), store.get_fact("nothing")) == (None, None)
    store.set_fact("canary", {"for_s": 1.0})
    known = {"canary": {"for_s": 1.0}, "baseline": None, "nothing": None}
    assert store.get_facts(*known) == known


def test_one_damaged_row_does_not_cost_the_others(store: Store, tmp_path: Path) -> None:
    store.add_samples([sample(1), sample(2)])
    store.add_event(Event(EventKind.NOTICED, Moment(1.0), identity=Identity(1, 2, "b")))
    connection = apsw.Connection(str(tmp_path / "store.sqlite"))
    connection.execute("UPDATE samples SET data = '{\"n\": ' WHERE id = 1")
    connection.execute("UPDATE events SET identity = 'x', kind = 'from the future', data = '[]'")
    connection.close()
    assert [one.data for one in store.samples("queue")] == [{}, {"n": 2}]
    (event,) = store.events()
    assert (event.kind, event.identity, event.data) == (EventKind.NOTICED, None, {})


def test_a_failed_write_writes_nothing(store: Store) -> None:
    with pytest.raises(TypeError):
        store.add_samples([sample(1), Sample("queue", Moment(2.0), {"n": object()})])
    assert store.samples("queue") == []
    store.add_samples([sample(3)])
    assert len(store.samples("queue")) == 1


def test_a_log_that_has_grown_is_given_back(store: Store, tmp_path: Path) -> None:
    """Nothing is moved out of it while somebody reads what was there before."""
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


# --- several at once ------------------------------------------------------------------------


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
    """The numbers that the store holds; it must be whole."""
    reader = Store(path)
    assert reader.find_damage() is None
    found = {int(one.data["number"]) for one in reader.samples("queue")}
    found |= {int(one.reason) for one in reader.events(limit=1_000_000)}
    reader.close()
    return found


def test_fifty_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
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
    assert len(found - set(acked)) <= 50  # committed, and killed before saying so


def test_several_writers_and_a_reader_at_once(tmp_path: Path) -> None:
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


def test_everybodys_news_are_noticed_cheaply(tmp_path: Path) -> None:
    ours, theirs = Store(tmp_path / "s"), Store(tmp_path / "s")
    seen = [ours.change_counter(), ours.change_counter()]
    theirs.add_samples([sample(1)])
    seen.append(ours.change_counter())
    ours.add_samples([sample(2)])
    seen.append(ours.change_counter())
    ours.close()
    theirs.close()
    assert seen[0] == seen[1] < seen[2] < seen[3]


def test_a_long_past_is_read_page_by_page_to_the_same_end(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    ats = [float(n // 7) for n in range(2 * PAGE_ROWS + 3)]  # many of one moment, across every page
    store.add_samples(Sample("queue", Moment(at), {"n": n}) for n, at in enumerate(ats))
    store.add_samples([Sample("canary", Moment(3.0))])
    for at, until in ((0.0, MAX_ID), (2.0, 140), (5.0, 36), (1e6, MAX_ID)):
        since = Moment(at)
        assert [*store.iter_samples("queue", since, until)] == store.samples(
            "queue", since, until_id=until
        )
    store.close()


def test_many_lines_are_read_page_by_page_to_the_same_end(tmp_path: Path) -> None:
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


def test_many_lines_are_never_all_there_as_rows(tmp_path: Path) -> None:
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
