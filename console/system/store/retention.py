"""Forgetting without losing: samples are rolled up by minute and hour, then they may go.

Every step is a transaction of its own and a small one: a writer waits for milliseconds at most.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from console.core.metrics.clock_trust import Steady, steady
from console.core.metrics.rollups import FIELDS, HOUR_S, MINUTE_S, Rollup, roll_up
from console.core.model import Event, Moment, Sample
from console.system.store import rows
from console.system.store.store import NEVER, Store

LATE_S = 600.0
"""An hour is rolled up this long after it has ended: some samples come late."""
BATCH = 500
"""Rows that one transaction forgets."""
MOST = 20_000
"""Rows of a kind that are forgotten at once: in an hour a box writes a tenth of it. A clock that is
wrong for days without anything to show it takes days to cost the whole past."""
PAUSE_S = 0.01
"""Between two transactions."""
ROLLED = "rolled-up"
"""Fact of the store: until when everything has been rolled up, Unix seconds, a whole hour."""
CLOCK = "clock"
"""Fact of the store: what was last seen of the clocks."""
_COLUMNS = "monitor, field, step, at, n, sum, squares, min, max"


def rollups(
    store: Store, monitor: str, field: str, step: int, since: float, until: float = math.inf
) -> list[Rollup]:
    """A field's roll-ups that begin from `since` until before `until`. Raises StoreError."""
    where = "monitor = ? AND field = ? AND step = ? AND at >= ? AND at < ?"
    sql = f"SELECT {_COLUMNS} FROM rollups WHERE {where} ORDER BY at"
    return [Rollup(*row) for row in store.read(sql, (monitor, field, step, since, until))]


def keep_up(store: Store, now: float) -> float:
    """Roll up every hour that is over and was not yet; until when that is. Raises StoreError.

    A clock that was set back has some hours rolled up again, from the same samples.
    """
    ends = (now - LATE_S) // HOUR_S * HOUR_S
    known = store.get(ROLLED)
    begins = min(known, ends - HOUR_S) if isinstance(known, int | float) else _oldest(store, ends)
    while begins < ends:
        begins = _skip(store, begins, ends)
        if begins < ends:
            _roll_hour(store, begins)
            begins += HOUR_S
    if known != ends:
        store.put(ROLLED, ends)
    return ends


def _oldest(store: Store, ends: float) -> float:
    """The hour of the oldest sample; `ends` when there is none."""
    return _skip(store, -math.inf, ends)


def _skip(store: Store, since: float, ends: float) -> float:
    """The first hour from `since` on of which there are samples; `ends` when there is none."""
    sql = "SELECT min(at) FROM samples WHERE monitor = ? AND at >= ?"
    found = [store.read(sql, (name, since))[0][0] for name in FIELDS]
    first = min((at for at in found if at is not None), default=ends)
    return min(ends, first // HOUR_S * HOUR_S)


def _roll_hour(store: Store, begins: float) -> None:
    """Roll up one hour of every monitor in one transaction, and remember that it is done."""
    ends = begins + HOUR_S
    rolled = [one for name in FIELDS for one in roll_up(_hour(store, name, begins), begins, ends)]
    sql = f"INSERT OR REPLACE INTO rollups ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)"
    done = ("INSERT OR REPLACE INTO facts VALUES (?, ?)", (ROLLED, str(ends)))
    store.write([*((sql, _row(one)) for one in rolled), done])


def _hour(store: Store, monitor: str, begins: float) -> list[Sample]:
    """The samples of one hour, and the one before it."""
    before = store.in_hour(monitor, begins - HOUR_S, begins)[-1:]
    return before + store.in_hour(monitor, begins, begins + HOUR_S)


def _row(one: Rollup) -> tuple[Any, ...]:
    figures = (one.sum, one.squares, one.min, one.max)
    return (one.monitor, one.field, one.step, one.at, one.n, *figures)


# --- whether to forget ----------------------------------------------------------------------


def proven(store: Store, now: Moment) -> Steady:
    """Look at the clocks once more, and remember it: what is not proven deletes nothing."""
    newest = store.read("SELECT at, tick, boot FROM samples ORDER BY id DESC LIMIT 1")
    found = steady(store.get(CLOCK), Moment(*newest[0]) if newest else None, now)
    store.put(CLOCK, found.fact())
    return found


# --- forgetting -----------------------------------------------------------------------------


def forget_samples(store: Store, keep_s: float, now: Moment) -> None:
    """Forget the samples that were written first, as far as they are older than `keep_s`.

    Whole hours go at a time, and no hour that is not rolled up. A sample of this boot is as old as
    its ticks say. One from the future tells of a clock that was wrong: it is as old as its
    neighbours. Of very many, `MOST` go at once.
    """
    rolled = store.get(ROLLED)
    known = rolled if isinstance(rolled, int | float) else -math.inf
    ends = min((now.at - keep_s) // HOUR_S * HOUR_S, known)
    for name in _monitors(store):
        if (last := _last_old(store, name, ends, keep_s, now)) is not None:
            _drain(store, _OLDEST, (name, last, BATCH))


_OLDEST = (
    "DELETE FROM samples WHERE id IN (SELECT id FROM samples WHERE monitor = ? AND id <= ?"
    " ORDER BY id LIMIT ?) RETURNING 1"
)


def _last_old(store: Store, monitor: str, ends: float, keep_s: float, now: Moment) -> int | None:
    """The id of the monitor's last sample before `ends` that no younger one precedes."""
    young = "(boot = ? AND boot <> '' AND tick >= ?) OR at BETWEEN ? AND ?"
    sql = f"SELECT id FROM samples WHERE monitor = ? AND ({young}) ORDER BY id LIMIT 1"
    first = store.read(sql, (monitor, now.boot, now.tick - keep_s, ends, now.at))
    before = first[0][0] if first else NEVER
    sql = "SELECT max(id) FROM samples WHERE monitor = ? AND id < ? AND at < ?"
    return store.read(sql, (monitor, before, ends))[0][0]  # type: ignore[no-any-return]


def forget_rollups(store: Store, minutes_before: float, hours_before: float) -> None:
    """Forget the roll-ups that began before the given Unix times, `MOST` of each field at once."""
    sql = (
        "DELETE FROM rollups WHERE (monitor, field, step, at) IN (SELECT monitor, field, step, at"
        " FROM rollups WHERE monitor = ? AND field = ? AND step = ? AND at < ? ORDER BY at LIMIT ?)"
        " RETURNING 1"
    )
    for step, before in ((MINUTE_S, minutes_before), (HOUR_S, hours_before)):
        for monitor, fields in FIELDS.items():
            for field in fields:
                _drain(store, sql, (monitor, field, step, before, BATCH))


def forget_events(
    store: Store, keep_s: float, now: Moment, choose: Callable[[Sequence[Event]], list[int]]
) -> None:
    """Forget the ledger's oldest lines, as far as `choose` lets them go by their id.

    Of very many, about `MOST` go at once.
    """
    size = BATCH
    gone = 0
    while True:
        sql = f"SELECT {rows.EVENT} FROM events ORDER BY id LIMIT ?"
        read = [rows.event(row) for row in store.read(sql, (size,))]
        old = _beginning(read, keep_s, now)
        doomed = choose(old)
        for first in range(0, len(doomed), BATCH):
            ids = doomed[first : first + BATCH]
            marks = ", ".join("?" * len(ids))
            store.write([(f"DELETE FROM events WHERE id IN ({marks})", ids)])
            time.sleep(PAUSE_S)
        gone += len(doomed)
        if len(old) < size or gone >= MOST:
            return
        size = size if doomed else 2 * size  # all of them are needed: look further


def _beginning(events: Sequence[Event], keep_s: float, now: Moment) -> list[Event]:
    """Up to the last old one before the first that is not.

    A line of this boot is as old as its ticks say. One from the future tells of a clock that was
    wrong: it is as old as its neighbours.
    """

    def young(one: Event) -> bool:
        of_this_boot = bool(now.boot) and one.moment.boot == now.boot
        known = of_this_boot or one.moment.at <= now.at
        return known and now.since(one.moment) <= keep_s

    old = [*takewhile(lambda one: not young(one), events)]
    while old and old[-1].moment.at > now.at:
        del old[-1]
    return old


def _drain(store: Store, sql: str, values: Sequence[Any]) -> None:
    """Forget batch by batch. A writer that waits asks again and again: it must find a gap."""
    for _ in range(MOST // BATCH):
        if len(store.write([(sql, values)])[0]) < BATCH:
            return
        time.sleep(PAUSE_S)


def _monitors(store: Store) -> list[str]:
    """Every monitor that has samples, found by the index's first entries."""
    sql = (
        "WITH RECURSIVE found(name) AS (SELECT min(monitor) FROM samples UNION ALL"
        " SELECT (SELECT min(monitor) FROM samples WHERE monitor > name) FROM found"
        " WHERE name IS NOT NULL) SELECT name FROM found WHERE name IS NOT NULL"
    )
    return [row[0] for row in store.read(sql)]
