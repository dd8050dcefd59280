"""Roll-up and retention: samples are rolled up before deletion, and writers are not blocked."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from console.core.metrics.rollups import Rollup
from console.core.model.events import Event, EventKind
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.runtime import daemon as upkeep
from console.system.box import open_box
from console.system.clock import Clock, override_clock
from console.system.config.schema import Retention, Settings
from console.system.store import retention, schema
from console.system.store.store import Store
from tests.bench.store import fill

OLD_FILE = Path(__file__).parent / "files" / "store-version-1.sqlite"
HOUR = 1_762_160_400
DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def look(at: float, **data: Any) -> Sample:
    return Sample("queue", Moment(at, at, "b"), {"problem": None, **data})


def hours(store: Store, monitor: str, field: str) -> list[Rollup]:
    return retention.read_rollups(store, monitor, field, 3600, 0)


# --- migration from schema version 1 --------------------------------------------------------


def test_store_of_schema_version_1_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    shutil.copy(OLD_FILE, path)
    store = Store(path)
    assert store.read("PRAGMA user_version") == [(schema.SCHEMA_VERSION,)]
    assert (len(store.samples("queue")), len(store.samples("canary"))) == (24, 4)
    assert [event.kind.value for event in store.events()] == ["started", "died", "parked"]
    assert store.token("worker") == 1 and store.get_fact("baseline")["hours"] == 6.0
    retention.roll_up_finished_hours(store, HOUR + 3 * 3600)
    assert [one.n for one in hours(store, "queue", "size")] == [12, 12]
    assert sum(one.sum for one in hours(store, "queue", "successful")) == 69
    assert sum(one.sum for one in hours(store, "queue", "failed")) == 1
    assert hours(store, "canary", "latency_s")[0].max == 0.3
    assert hours(store, "worker", "present")[1].sum == 12
    assert store.find_damage() is None
    store.close()
    Store(path).close()  # opening it again migrates nothing


def test_migrated_and_new_stores_have_the_same_schema(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "old.sqlite"
    shutil.copy(OLD_FILE, path)
    old = Store(path)
    sql = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    assert old.read(sql) == store.read(sql)
    old.close()


# --- roll-up --------------------------------------------------------------------------------


def test_hour_is_rolled_up_after_it_ends(store: Store) -> None:
    store.add_samples(look(HOUR + n * 60, size=n) for n in range(90))
    # late samples may still arrive
    assert retention.roll_up_finished_hours(store, HOUR + 3600 + 60) == HOUR
    assert hours(store, "queue", "size") == []
    retention.roll_up_finished_hours(store, HOUR + 3600 + 700)
    (one,) = hours(store, "queue", "size")
    assert (one.at, one.n, one.max) == (HOUR, 60, 59)
    assert len(retention.read_rollups(store, "queue", "size", 60, HOUR, HOUR + 600)) == 10
    retention.roll_up_finished_hours(store, HOUR + 7200 + 700)
    assert [one.n for one in hours(store, "queue", "size")] == [60, 30]


def test_roll_up_is_fast_across_gaps_and_clock_jumps(store: Store) -> None:
    store.add_samples([look(5.0, size=1), look(HOUR + 1, size=2), look(4e9, size=3)])
    began = time.monotonic()
    retention.roll_up_finished_hours(store, HOUR + 9000)
    assert [one.at for one in hours(store, "queue", "size")] == [0, HOUR]
    assert time.monotonic() - began < 2
    retention.roll_up_finished_hours(store, 5e9)  # the wall clock jumps ahead, and back
    store.add_samples([look(HOUR + 9000, size=7)])
    retention.roll_up_finished_hours(store, HOUR + 12_000)
    assert hours(store, "queue", "size")[2].max == 7


# --- deletion -------------------------------------------------------------------------------


def test_samples_are_not_deleted_before_roll_up(store: Store) -> None:
    store.add_samples(look(HOUR + n * 600, size=n) for n in range(18))
    retention.delete_old_samples(store, 0.0, Moment(HOUR + 1e6))
    assert len(store.samples("queue")) == 18
    retention.roll_up_finished_hours(store, HOUR + 7200 + 700)
    retention.delete_old_samples(store, 3600.0, Moment(HOUR + 7201))  # only whole hours are deleted
    assert len(store.samples("queue")) == 12
    retention.delete_old_samples(store, 0.0, Moment(HOUR + 1e6))
    assert len(store.samples("queue")) == 6
    assert sum(one.n for one in hours(store, "queue", "size")) == 12


def test_minute_and_hour_rollups_have_separate_retention(store: Store) -> None:
    store.add_samples(look(HOUR + n * 600, size=n) for n in range(18))
    retention.roll_up_finished_hours(store, HOUR + 4 * 3600)
    retention.delete_old_rollups(store, HOUR + 3600, HOUR + 7200)
    assert [one.at for one in hours(store, "queue", "size")] == [HOUR + 7200]
    minutes = retention.read_rollups(store, "queue", "size", 60, 0)
    assert (len(minutes), minutes[0].at) == (12, HOUR + 3600)


def lines(store: Store, *times: float) -> None:
    for at in times:
        store.add_event(Event(EventKind.NOTICED, Moment(at)))


def all_but(*needed: int) -> Any:
    return lambda old: [one.id for one in old if one.id not in needed]


@pytest.mark.parametrize(
    ("times", "before", "needed", "left"),
    [
        (range(10), 7, (), [8, 9, 10]),
        (range(10), 7, (3,), [3, 8, 9, 10]),
        ([1, 2, 9e9, 3, 9, 9e9], 7, (), [5, 6]),  # recorded while the clock was wrong
        ([1, 9, 2, 3], 7, (), [2, 3, 4]),
        ([9e9, 9, 2], 7, (), [1, 2, 3]),
    ],
)
def test_oldest_events_are_deleted_except_needed_ones(
    store: Store, times: Sequence[float], before: float, needed: tuple[int, ...], left: list[int]
) -> None:
    lines(store, *times)
    retention.delete_old_events(store, 100.0 - before, Moment(100.0), all_but(*needed))
    assert [one.id for one in store.events()] == left
    lines(store, 10.0)
    assert store.events()[-1].id == len(times) + 1  # ids are never reused


def test_deletion_continues_past_a_batch_of_needed_events(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "DELETE_BATCH_ROWS", 4)
    lines(store, *range(30))
    retention.delete_old_events(store, 75.0, Moment(100.0), all_but(1, 2, 3, 4, 5, 6, 20))
    assert [one.id for one in store.events()] == [1, 2, 3, 4, 5, 6, 20, 26, 27, 28, 29, 30]


def test_deletion_does_not_block_writers(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store, writer = Store(path), Store(path)
    fill(path, 3)
    retention.roll_up_finished_hours(store, time.time())
    waited, done = [0.0], threading.Event()

    def write() -> None:
        while not done.wait(0.001):
            began = time.monotonic()
            writer.add_samples([look(time.time())])
            waited.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    retention.delete_old_samples(store, DAY, Moment(time.time()))
    done.set()
    thread.join()
    assert len(waited) > 10 and sorted(waited)[int(len(waited) * 0.95)] < 0.25
    store.close()
    writer.close()


# --- wrong clocks ---------------------------------------------------------------------------


def test_age_of_a_sample_from_this_boot_comes_from_its_ticks(store: Store) -> None:
    # wall clock at 1970
    store.add_samples(Sample("queue", Moment(n * 60.0, 100.0 + n, "b")) for n in range(3))
    store.add_samples([Sample("queue", Moment(HOUR, 200.0, "b"))])
    retention.roll_up_finished_hours(store, HOUR + 7200)
    retention.delete_old_samples(store, 50.0, Moment(HOUR + 7200, 140.0, "b"))
    assert len(store.samples("queue")) == 4
    retention.delete_old_samples(store, 50.0, Moment(HOUR + 7200, 7_000.0, "b"))
    assert store.samples("queue") == []


def test_sample_from_the_future_is_deleted_with_its_neighbours(store: Store) -> None:
    ahead = HOUR + 700 * DAY
    store.add_samples(map(look, (HOUR, ahead, HOUR + 60, HOUR + 5 * DAY, ahead)))
    retention.roll_up_finished_hours(store, HOUR + 5 * DAY + 9000)
    retention.delete_old_samples(store, DAY, Moment(HOUR + 5 * DAY + 9000))
    assert [one.id for one in store.samples("queue")] == [4, 5]


def test_deletion_per_pass_is_limited(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "DELETE_BATCH_ROWS", 5)
    monkeypatch.setattr(retention, "MAX_DELETED_ROWS", 10)
    store.add_samples(look(HOUR + n) for n in range(40))
    lines(store, *range(40))
    now = Moment(HOUR + 9 * DAY)
    retention.roll_up_finished_hours(store, now.at)
    for left in (30, 20, 10):
        retention.delete_old_samples(store, DAY, now)
        retention.delete_old_events(store, DAY, now, all_but())
        assert (len(store.samples("queue")), len(store.events())) == (left, left)


class Shifted(Clock):
    """The system clock with an adjustable error of the wall clock."""

    ahead_s = 0.0
    ran_s = 0.0

    def wall_time(self) -> float:
        return super().wall_time() + self.ahead_s + self.ran_s

    def tick(self) -> float:
        return super().tick() + self.ran_s


def test_daemon_deletes_nothing_after_a_wall_clock_jump(tmp_path: Path) -> None:
    shifted = Shifted()
    with override_clock(shifted), open_box(Settings(), tmp_path / "state") as box:
        at = box.now()
        box.store.add_samples(Sample("queue", at.plus(-n * 60.0), {"size": 1}) for n in range(200))
        box.record(EventKind.NOTICED, actor="daemon", reason="yesterday")
        upkeep._prune(box)
        shifted.ahead_s = 730.0 * DAY
        for _ in range(3):
            upkeep._prune(box)
        assert len(box.store.samples("queue")) == 200
        reasons = [one.reason for one in box.store.events()]
        assert len(reasons) == 2 and "h ahead of what was last seen of it" in reasons[1]
        shifted.ran_s = 40 * DAY  # the clock ran steadily since: the daemon trusts it
        upkeep._prune(box)
        assert box.store.samples("queue") == []


# --- cost after a year ----------------------------------------------------------------------

LAST_HOUR = {
    "samples": "SELECT * FROM samples WHERE monitor = 'queue' AND id > 0 AND id <= 9e9"
    " ORDER BY id DESC LIMIT 400",
    "since": "SELECT id FROM samples WHERE monitor = 'queue' AND id <= 9e9 AND"
    " CASE WHEN boot = 'b' THEN tick < {since} ELSE at < {since} END ORDER BY id DESC LIMIT 1",
    "events": "SELECT * FROM events WHERE id > {last} ORDER BY id DESC LIMIT 20",
    "role": "SELECT * FROM events WHERE id > 0 AND role = 'worker' ORDER BY id DESC LIMIT 20",
    "rollups": "SELECT * FROM rollups WHERE monitor = 'queue' AND field = 'size' AND step = 60"
    " AND at >= {since} AND at < 9e9 ORDER BY at",
}


def pages(path: Path, sql: str) -> int:
    """Count the pages of the file that a query reads."""
    connection = apsw.Connection(str(path))
    connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
    status = (apsw.SQLITE_DBSTATUS_CACHE_HIT, apsw.SQLITE_DBSTATUS_CACHE_MISS)
    before = sum(connection.status(kind)[0] for kind in status)
    connection.execute(sql).fetchall()
    looked = sum(connection.status(kind)[0] for kind in status) - before
    connection.close()
    return looked


TIMES = 10
"""The factor by which the year and all retention periods are shortened."""


def a_year(store: Store, path: Path, days: float) -> None:
    """Fill a store as upkeep leaves it after `days`; rows due for deletion are sparse."""
    now, keep = time.time(), Retention()
    raw_s, minutes_s, hours_s = (
        n * DAY / TIMES for n in (keep.samples_days, keep.minutes_days, keep.hours_days)
    )
    agos = [*range(int(raw_s), int(minutes_s), 60), *range(int(minutes_s), int(days * DAY), 1200)]
    thin = []
    for ago in agos if days > 1 else ():
        counters = {"successful": int(9e6 - ago), "failed": int(1e6 - ago / 40)}
        thin.append(look(now - ago, size=ago % 7, **counters))
    store.add_samples(thin)
    fill(path, min(days, raw_s / DAY))
    retention.roll_up_finished_hours(store, now)
    retention.delete_old_samples(store, raw_s, Moment(now))
    retention.delete_old_rollups(store, now - minutes_s, now - hours_s)


def test_read_cost_and_file_size_stay_bounded_after_a_year(tmp_path: Path) -> None:
    cost, size = {}, 0
    for days in (1, 365 / TIMES):
        path = tmp_path / f"{days}.sqlite"
        store = Store(path)
        a_year(store, path, days)
        last = store.read("SELECT max(id) FROM events")[0][0] - 20
        queries = {n: q.format(since=time.time() - 3600, last=last) for n, q in LAST_HOUR.items()}
        for sql in queries.values():
            plan = " ".join(row[3] for row in store.read(f"EXPLAIN QUERY PLAN {sql}"))
            assert plan.startswith("SEARCH") and "TEMP B-TREE" not in plan, plan
        cost[days] = {name: pages(path, sql) for name, sql in queries.items()}
        rolled = store.read("SELECT count(*) FROM rollups")[0][0]
        store.close()
        size = path.stat().st_size
    for name, looked in cost[1].items():
        assert cost[365 / TIMES][name] <= looked + 3, name  # the B-tree may be one level deeper
    assert rolled * TIMES > 300_000
    assert size * TIMES < 150e6  # the limit that the settings document
