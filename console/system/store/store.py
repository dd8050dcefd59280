"""The store: one SQLite file for samples, event log and facts, shared by the processes of a box."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from console.core.model.events import Event, EventKind
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system import clock
from console.system.store import rows
from console.system.store.database import Database, StoreDamagedError, StoreError, StoreVersionError

__all__ = ["Store", "StoreDamagedError", "StoreError", "StoreVersionError", "sqlite_version"]


PAGE_ROWS = 100
"""Rows that one query reads where the total may be very large."""
MAX_ID = (1 << 63) - 1
"""The largest possible id."""
MAX_SAMPLE_DISTANCE_S = 60.0
BEGINNING_OF_TIME = Moment(-math.inf)
"""A moment before all others."""


class Store(Database):
    """The store of one box: samples, events, tokens and facts, shared by its processes."""

    # --- samples ---------------------------------------------------------------------------

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Store samples. Raises StoreError."""
        sql = "INSERT INTO samples (monitor, at, tick, boot, data, error) VALUES (?,?,?,?,?,?)"
        self.write((sql, rows.encode_sample(sample)) for sample in samples)

    # The newest sample is the last one written: the wall clock may have been set in between.

    def samples(
        self,
        monitor: str,
        since: Moment = BEGINNING_OF_TIME,
        limit: int = 100_000,
        until_id: int = MAX_ID,
    ) -> list[Sample]:
        """Return a monitor's last `limit` samples since then, up to id `until_id`, oldest first."""
        where = "monitor = ? AND id > ? AND id <= ? ORDER BY id DESC LIMIT ?"
        sql = f"SELECT {rows.SAMPLE_COLUMNS} FROM samples WHERE {where}"
        values = (monitor, self._last_sample_id_before(monitor, since, until_id), until_id, limit)
        return [*map(rows.decode_sample, reversed(self.read(sql, values)))]

    def iter_samples(self, monitor: str, since: Moment, until_id: int = MAX_ID) -> Iterator[Sample]:
        """Yield a monitor's samples since `since` up to id `until_id`, oldest first.

        Rows are read a page at a time: all rows at once take several times the memory of the
        samples.
        """
        where = "monitor = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?"
        sql = f"SELECT {rows.SAMPLE_COLUMNS} FROM samples WHERE {where}"
        last = self._last_sample_id_before(monitor, since, until_id)
        while page := self.read(sql, (monitor, last, until_id, PAGE_ROWS)):
            yield from map(rows.decode_sample, page)
            last = page[-1][0]
            if len(page) < PAGE_ROWS:
                return

    def _last_sample_id_before(self, monitor: str, since: Moment, until_id: int) -> int:
        """Return the id of the monitor's last sample before `since`; 0 if there is none.

        A sample of the boot of `since` is compared by ticks, a sample of another boot by UTC. If
        `since` lies after the start of its boot, each sample of another known boot is before it.
        """
        if since.at == BEGINNING_OF_TIME.at:
            return 0
        other = "at < ? OR (? AND boot <> '')"
        before = f"CASE WHEN boot = ? AND boot <> '' THEN tick < ? ELSE {other} END"
        where = f"monitor = ? AND id <= ? AND {before} ORDER BY id DESC LIMIT 1"
        booted = bool(since.boot) and since.tick >= 0
        values = (monitor, until_id, since.boot, since.tick, since.at, booted)
        ids = self.read(f"SELECT id FROM samples WHERE {where}", values)
        return int(ids[0][0]) if ids else 0

    def samples_between(self, monitor: str, begins: float, ends: float) -> list[Sample]:
        """Return a monitor's samples whose wall-clock time is in [`begins`, `ends`)."""
        where = "monitor = ? AND at >= ? AND at < ? ORDER BY id"
        sql = f"SELECT {rows.SAMPLE_COLUMNS} FROM samples WHERE {where}"
        return [*map(rows.decode_sample, self.read(sql, (monitor, begins, ends)))]

    def samples_after(self, after_id: int, limit: int = 10_000) -> list[Sample]:
        """Return samples of all monitors with an id above `after_id`, in the order of writing."""
        sql = f"SELECT {rows.SAMPLE_COLUMNS} FROM samples WHERE id > ? ORDER BY id LIMIT ?"
        return [rows.decode_sample(row) for row in self.read(sql, (after_id, limit))]

    def sample_at_wall_time(self, monitor: str, at: float) -> Sample | None:
        """Return the last sample written when the wall clock showed `at`; None if there is none.

        After the clock was set, the same wall-clock time may have occurred several times. Of the
        samples that are at most `MAX_SAMPLE_DISTANCE_S` older, return the one written last. If
        there are none, return the one with the latest wall-clock time before `at`.
        """
        near = "monitor = ? AND at BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
        far = "monitor = ? AND at BETWEEN ? AND ? ORDER BY at DESC, id DESC LIMIT 1"
        for where, since in ((near, at - MAX_SAMPLE_DISTANCE_S), (far, -math.inf)):
            sql = f"SELECT {rows.SAMPLE_COLUMNS} FROM samples WHERE {where}"
            if row := self.read(sql, (monitor, since, at)):
                return rows.decode_sample(row[0])
        return None

    def sample_at_moment(self, moment: Moment) -> Sample | None:
        """Return the last sample of the moment's boot up to its ticks; None if there is none."""
        where = "boot = ? AND tick <= ? ORDER BY id DESC LIMIT 1"
        sql = f"SELECT {rows.SAMPLE_COLUMNS} FROM samples WHERE {where}"
        row = self.read(sql, (moment.boot, moment.tick))
        return rows.decode_sample(row[0]) if row else None

    def last_sample_id(self) -> int:
        """Return the id of the last sample written; 0 if there is none."""
        return int(self.read("SELECT coalesce(max(id), 0) FROM samples")[0][0])

    # --- the event log ---------------------------------------------------------------------

    def add_event(self, event: Event) -> int | None:
        """Write an event. Return its id, or None if its start or death is already recorded."""
        if self._is_duplicate(event):
            return None
        written = self.write([(rows.INSERT_EVENT_SQL, rows.encode_event(event))])[0]
        return written[0][0] if written else None

    def _is_duplicate(self, event: Event) -> bool:
        """Return True if the event is a start or death that is already recorded.

        The unique index is authoritative. This read avoids the write lock in most cases.
        """
        same = rows.UNIQUE_EVENT_CONDITIONS.get(event.kind)
        if same is None or event.identity is None:
            return False
        sql = f"SELECT 1 FROM events WHERE identity = ? AND {same}"
        return bool(self.read(sql, (str(event.identity),)))

    def events(
        self,
        after_id: int = 0,
        role: str | None = None,
        limit: int = 1_000,
        kinds: Sequence[EventKind] = (),
        until_id: int = MAX_ID,
    ) -> list[Event]:
        """Return the newest `limit` events with `after_id` < id <= `until_id`, oldest first.

        `role` and `kinds` select the events of a role and of some kinds. Rows are read a page at a
        time, as in `iter_samples`: the hand-over reads thousands of events every minute.
        """
        where, values = "id > ?", [after_id, *filter(None, [role]), *kinds]
        where += " AND role = ?" if role else ""
        where += f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        sql = (
            f"SELECT {rows.EVENT_COLUMNS} FROM events WHERE {where} AND id < ?"
            " ORDER BY id DESC LIMIT ?"
        )
        events: list[Event] = []
        before = min(until_id + 1, MAX_ID)
        while (wanted := min(limit - len(events), PAGE_ROWS)) > 0:
            page = self.read(sql, (*values, before, wanted))
            events += map(rows.decode_event, page)
            if len(page) < wanted:
                break
            before = page[-1][0]
        return events[::-1]

    def events_after(self, after_id: int, limit: int) -> list[Event]:
        """Return the first `limit` events with an id above `after_id`, in the order of writing."""
        sql = f"SELECT {rows.EVENT_COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?"
        return [rows.decode_event(row) for row in self.read(sql, (after_id, limit))]

    def last_event_id_at(self, moment: Moment) -> int:
        """Return the id of the last event written up to a moment; 0 if there is none.

        Events of the moment's boot are compared by ticks. For a moment before the first of them,
        the result is the last event before that one. For a boot without events, or an unknown
        boot, events are compared by UTC.
        """
        last = "SELECT id FROM events WHERE {} ORDER BY id DESC LIMIT 1"
        values = (moment.boot, moment.tick)
        if moment.boot and (ids := self.read(last.format("boot = ? AND tick <= ?"), values)):
            return int(ids[0][0])
        first = self.read("SELECT min(id) FROM events WHERE boot = ? AND boot <> ''", values[:1])
        if first[0][0] is not None:
            ids = self.read(last.format("id < ?"), first[0])
        else:
            ids = self.read(last.format("at <= ?"), (moment.at,))
        return int(ids[0][0]) if ids else 0

    def role_events_condensed(self, role: str, until_id: int, limit: int) -> list[Event]:
        """Return a role's newest `limit` events up to id `until_id`, condensed, oldest first.

        Of consecutive CONFIRMED events of the same actor (for example a job that runs `ensure`
        every minute), only the first is returned.
        """
        few = "id, kind, actor"
        newest = f"SELECT {few} FROM events WHERE role = ? AND id <= ? ORDER BY id DESC LIMIT ?"
        before = "lag(kind || ' ' || actor) OVER (ORDER BY id) AS before"
        again = "kind = ? AND before IS kind || ' ' || actor"
        ids = f"SELECT id FROM (SELECT {few}, {before} FROM ({newest})) WHERE NOT ({again})"
        sql = f"SELECT {rows.EVENT_COLUMNS} FROM events WHERE id IN ({ids}) ORDER BY id"
        values = (role, until_id, limit, EventKind.CONFIRMED.value)
        return [rows.decode_event(row) for row in self.read(sql, values)]

    # --- tokens and facts ------------------------------------------------------------------

    def token(self, role: str) -> int:
        """Return the role's last token in the store; 0 if there is none."""
        tokens = self.read("SELECT token FROM tokens WHERE role = ?", (role,))
        return int(tokens[0][0]) if tokens else 0

    def save_token(self, role: str, token: int) -> None:
        """Store the role's token, unless a higher one is stored."""
        sql = (
            "INSERT INTO tokens (role, token) VALUES (?, ?)"
            " ON CONFLICT (role) DO UPDATE SET token = max(token, excluded.token)"
        )
        self.write([(sql, (role, token))])

    def set_fact(self, key: str, value: Any) -> None:
        """Store a small JSON value under a key."""
        sql = "INSERT OR REPLACE INTO facts VALUES (?, ?)"
        self.write([(sql, (key, json.dumps(value)))])

    def get_fact(self, key: str) -> Any:
        """Return the value under `key`, or None."""
        values = self.read("SELECT value FROM facts WHERE key = ?", (key,))
        return json.loads(values[0][0]) if values else None

    def get_facts(self, *keys: str) -> dict[str, Any]:
        """Return key -> value for these keys, in one query; None for a missing key."""
        sql = f"SELECT key, value FROM facts WHERE key IN ({', '.join('?' * len(keys))})"
        values = {key: json.loads(value) for key, value in self.read(sql, keys)}
        return {key: values.get(key) for key in keys}

    def check_writable(self) -> None:
        """Write a fact as a test. Raises StoreError if the store cannot be written."""
        if self.fallback_reason is not None:
            raise StoreError(self.fallback_reason)
        self.set_fact("proof", clock.now().at)

    # --- changes ---------------------------------------------------------------------------

    def change_counter(self) -> int:
        """Return a number that changes with each write by any process; far cheaper than a query."""
        others = int(self.read("PRAGMA data_version")[0][0])
        with self._lock:
            return others + self._connection.total_changes() + (self.generation << 32)


def sqlite_version() -> str:
    """Return the version of SQLite in use."""
    return apsw.sqlite_lib_version()
