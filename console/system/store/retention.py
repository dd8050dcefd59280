"""Retention: samples are rolled up by minute and hour before they are deleted.

Each step is a small transaction of its own, so that a writer waits for milliseconds at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from console.core.metrics.clock_trust import ClockTrust, update_clock_trust
from console.core.metrics.rollups import FIELDS_BY_MONITOR, HOUR_S, MINUTE_S, Rollup, roll_up
from console.core.model.events import Event
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system.store import rows
from console.system.store.store import MAX_ID, Store

ROLLUP_DELAY_S = 600.0
"""Delay between the end of an hour and its roll-up: some samples arrive late."""
DELETE_BATCH_ROWS = 500
"""Rows that one transaction deletes."""
MAX_DELETED_ROWS = 20_000
"""Rows of one kind that one call deletes; a box writes a tenth of this number in an hour. So an
undetected wrong clock needs days to delete the whole history."""
BATCH_PAUSE_S = 0.01
"""Pause between two transactions."""
ROLLED_UP_FACT = "rolled-up"
"""Fact of the store: the end of the rolled-up time, Unix seconds, a whole hour."""
CLOCK_FACT = "clock"
"""Fact of the store: the last reading of the clocks."""
_ROLLUP_COLUMNS = "monitor, field, step, at, n, sum, squares, min, max"


def read_rollups(
    store: Store, monitor: str, field: str, step: int, since: float, until: float = math.inf
) -> list[Rollup]:
    """Return a field's roll-ups that begin in [`since`, `until`). Raises StoreError."""
    where = "monitor = ? AND field = ? AND step = ? AND at >= ? AND at < ?"
    sql = f"SELECT {_ROLLUP_COLUMNS} FROM rollups WHERE {where} ORDER BY at"
    return [Rollup(*row) for row in store.read(sql, (monitor, field, step, since, until))]


def roll_up_finished_hours(store: Store, now: float) -> float:
    """Roll up every finished hour that is not rolled up yet. Return the end of the last one.

    After the clock was set back, some hours are rolled up again, from the same samples.
    Raises StoreError.
    """
    ends = (now - ROLLUP_DELAY_S) // HOUR_S * HOUR_S
    done_until = store.get_fact(ROLLED_UP_FACT)
    begins = (
        min(done_until, ends - HOUR_S)
        if isinstance(done_until, int | float)
        else _first_hour(store, ends)
    )
    while begins < ends:
        begins = _next_hour_with_samples(store, begins, ends)
        if begins < ends:
            _roll_up_hour(store, begins)
            begins += HOUR_S
    if done_until != ends:
        store.set_fact(ROLLED_UP_FACT, ends)
    return ends


def _first_hour(store: Store, ends: float) -> float:
    """Return the hour of the oldest sample; `ends` if there is none."""
    return _next_hour_with_samples(store, -math.inf, ends)


def _next_hour_with_samples(store: Store, since: float, ends: float) -> float:
    """Return the first hour from `since` on with samples; `ends` if there is none."""
    sql = "SELECT min(at) FROM samples WHERE monitor = ? AND at >= ?"
    first_times = [store.read(sql, (name, since))[0][0] for name in FIELDS_BY_MONITOR]
    first = min((at for at in first_times if at is not None), default=ends)
    return min(ends, first // HOUR_S * HOUR_S)


def _roll_up_hour(store: Store, begins: float) -> None:
    """Roll up one hour of every monitor and record its end as a fact, in one transaction."""
    ends = begins + HOUR_S
    rollups = [
        rollup
        for name in FIELDS_BY_MONITOR
        for rollup in roll_up(_samples_of_hour(store, name, begins), begins, ends)
    ]
    sql = f"INSERT OR REPLACE INTO rollups ({_ROLLUP_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
    done = ("INSERT OR REPLACE INTO facts VALUES (?, ?)", (ROLLED_UP_FACT, str(ends)))
    store.write([*((sql, _rollup_row(rollup)) for rollup in rollups), done])


def _samples_of_hour(store: Store, monitor: str, begins: float) -> list[Sample]:
    """Return the samples of one hour, preceded by the last one of the hour before."""
    before = store.samples_between(monitor, begins - HOUR_S, begins)[-1:]
    return before + store.samples_between(monitor, begins, begins + HOUR_S)


def _rollup_row(rollup: Rollup) -> tuple[Any, ...]:
    figures = (rollup.sum, rollup.squares, rollup.min, rollup.max)
    return (rollup.monitor, rollup.field, rollup.step, rollup.at, rollup.n, *figures)


# --- clock check ----------------------------------------------------------------------------


def check_clock(store: Store, now: Moment) -> ClockTrust:
    """Compare the clocks with their last reading, and save the result.

    Nothing is deleted while the wall clock is not trusted.
    """
    newest = store.read("SELECT at, tick, boot FROM samples ORDER BY id DESC LIMIT 1")
    trust = update_clock_trust(
        store.get_fact(CLOCK_FACT), Moment(*newest[0]) if newest else None, now
    )
    store.set_fact(CLOCK_FACT, trust.to_fact())
    return trust


# --- deletion -------------------------------------------------------------------------------


def delete_old_samples(store: Store, retention_s: float, now: Moment) -> None:
    """Delete the oldest samples that are older than `retention_s`.

    Only whole hours are deleted, and only hours that are rolled up. The age of a sample of this
    boot is computed from ticks. A sample with a time in the future was written with a wrong clock:
    its age is that of its neighbours. One call deletes at most `MAX_DELETED_ROWS` per monitor.
    """
    fact = store.get_fact(ROLLED_UP_FACT)
    done_until = fact if isinstance(fact, int | float) else -math.inf
    ends = min((now.at - retention_s) // HOUR_S * HOUR_S, done_until)
    for name in _monitor_names(store):
        if (last := _last_expired_id(store, name, ends, retention_s, now)) is not None:
            _delete_in_batches(store, _DELETE_OLDEST_SAMPLES_SQL, (name, last, DELETE_BATCH_ROWS))


_DELETE_OLDEST_SAMPLES_SQL = (
    "DELETE FROM samples WHERE id IN (SELECT id FROM samples WHERE monitor = ? AND id <= ?"
    " ORDER BY id LIMIT ?) RETURNING 1"
)


def _last_expired_id(
    store: Store, monitor: str, ends: float, retention_s: float, now: Moment
) -> int | None:
    """Return the id of the monitor's last sample before `ends` and before every unexpired one.

    Return None if there is none.
    """
    young = "(boot = ? AND boot <> '' AND tick >= ?) OR at BETWEEN ? AND ?"
    sql = f"SELECT id FROM samples WHERE monitor = ? AND ({young}) ORDER BY id LIMIT 1"
    first = store.read(sql, (monitor, now.boot, now.tick - retention_s, ends, now.at))
    before = first[0][0] if first else MAX_ID
    sql = "SELECT max(id) FROM samples WHERE monitor = ? AND id < ? AND at < ?"
    return store.read(sql, (monitor, before, ends))[0][0]  # type: ignore[no-any-return]


def delete_old_rollups(store: Store, minutes_before: float, hours_before: float) -> None:
    """Delete the roll-ups that begin before the given Unix times.

    One call deletes at most `MAX_DELETED_ROWS` per field.
    """
    sql = (
        "DELETE FROM rollups WHERE (monitor, field, step, at) IN (SELECT monitor, field, step, at"
        " FROM rollups WHERE monitor = ? AND field = ? AND step = ? AND at < ? ORDER BY at LIMIT ?)"
        " RETURNING 1"
    )
    for step, before in ((MINUTE_S, minutes_before), (HOUR_S, hours_before)):
        for monitor, fields in FIELDS_BY_MONITOR.items():
            for field in fields:
                _delete_in_batches(store, sql, (monitor, field, step, before, DELETE_BATCH_ROWS))


def delete_old_events(
    store: Store,
    retention_s: float,
    now: Moment,
    select_deletable_ids: Callable[[Sequence[Event]], list[int]],
) -> None:
    """Delete the oldest events beyond `retention_s` whose ids `select_deletable_ids` returns.

    One call deletes about `MAX_DELETED_ROWS` at most.
    """
    size = DELETE_BATCH_ROWS
    deleted = 0
    while True:
        sql = f"SELECT {rows.EVENT_COLUMNS} FROM events ORDER BY id LIMIT ?"
        events = [rows.decode_event(row) for row in store.read(sql, (size,))]
        expired = _expired_prefix(events, retention_s, now)
        deletable = select_deletable_ids(expired)
        for first in range(0, len(deletable), DELETE_BATCH_ROWS):
            ids = deletable[first : first + DELETE_BATCH_ROWS]
            marks = ", ".join("?" * len(ids))
            store.write([(f"DELETE FROM events WHERE id IN ({marks})", ids)])
            time.sleep(BATCH_PAUSE_S)
        deleted += len(deletable)
        if len(expired) < size or deleted >= MAX_DELETED_ROWS:
            return
        size = size if deletable else 2 * size  # all of them are needed: read more


def _expired_prefix(events: Sequence[Event], retention_s: float, now: Moment) -> list[Event]:
    """Return the events before the first unexpired one, up to the last that is surely expired.

    The age of an event of this boot is computed from ticks. An event with a time in the future was
    written with a wrong clock: its age is that of its neighbours.
    """

    def young(one: Event) -> bool:
        of_this_boot = bool(now.boot) and one.moment.boot == now.boot
        has_known_age = of_this_boot or one.moment.at <= now.at
        return has_known_age and now.since(one.moment) <= retention_s

    expired = [*takewhile(lambda event: not young(event), events)]
    while expired and expired[-1].moment.at > now.at:
        del expired[-1]
    return expired


def _delete_in_batches(store: Store, sql: str, values: Sequence[Any]) -> None:
    """Delete in batches, with pauses: a waiting writer polls the lock and must find it free."""
    for _ in range(MAX_DELETED_ROWS // DELETE_BATCH_ROWS):
        if len(store.write([(sql, values)])[0]) < DELETE_BATCH_ROWS:
            return
        time.sleep(BATCH_PAUSE_S)


def _monitor_names(store: Store) -> list[str]:
    """Return the monitors that have samples, by a skip scan of the index."""
    sql = (
        "WITH RECURSIVE found(name) AS (SELECT min(monitor) FROM samples UNION ALL"
        " SELECT (SELECT min(monitor) FROM samples WHERE monitor > name) FROM found"
        " WHERE name IS NOT NULL) SELECT name FROM found WHERE name IS NOT NULL"
    )
    return [row[0] for row in store.read(sql)]
