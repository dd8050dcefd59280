"""One SQLite file for samples, ledger and facts, shared by every peer of a box."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from console.core.model import Event, EventKind, Moment, Sample
from console.system import clock
from console.system.store import rows
from console.system.store.database import Backing, StoreDamaged, StoreError, StoreForeign

__all__ = ["Store", "StoreDamaged", "StoreError", "StoreForeign", "sqlite_version"]


PAGE = 100
"""Rows that are read at once where there may be very many."""
NEVER = (1 << 63) - 1
"""An id above all others."""
NEAR_S = 60.0
EVER = Moment(-math.inf)
"""Before all others."""


class Store(Backing):
    """The store of one box: what every peer knows."""

    # --- samples ---------------------------------------------------------------------------

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Keep observations. Raises StoreError."""
        sql = "INSERT INTO samples (monitor, at, tick, boot, data, error) VALUES (?,?,?,?,?,?)"
        self.write((sql, rows.sample_row(sample)) for sample in samples)

    # The newest sample is the one that was written last: the wall clock may have been set.

    def samples(
        self, monitor: str, since: Moment = EVER, limit: int = 100_000, until: int = NEVER
    ) -> list[Sample]:
        """A monitor's last `limit` samples `since` then, up to id `until`, oldest first."""
        where = "monitor = ? AND id > ? AND id <= ? ORDER BY id DESC LIMIT ?"
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
        values = (monitor, self._before(monitor, since, until), until, limit)
        return [*map(rows.sample, reversed(self.read(sql, values)))]

    def past(self, monitor: str, since: Moment, until: int = NEVER) -> Iterator[Sample]:
        """The same without a limit, a page at a time: all rows at once take several times as much
        memory as what is made of them.
        """
        where = "monitor = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?"
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
        last = self._before(monitor, since, until)
        while page := self.read(sql, (monitor, last, until, PAGE)):
            yield from map(rows.sample, page)
            last = page[-1][0]
            if len(page) < PAGE:
                return

    def _before(self, monitor: str, since: Moment, until: int) -> int:
        """The id of the monitor's last sample before `since`; 0 when there is none.

        A sample of the same boot is compared by ticks; one of an earlier boot by UTC, and it is
        before `since` in any case where this boot had begun by then.
        """
        if since.at == EVER.at:
            return 0
        other = "at < ? OR (? AND boot <> '')"
        before = f"CASE WHEN boot = ? AND boot <> '' THEN tick < ? ELSE {other} END"
        where = f"monitor = ? AND id <= ? AND {before} ORDER BY id DESC LIMIT 1"
        booted = bool(since.boot) and since.tick >= 0
        values = (monitor, until, since.boot, since.tick, since.at, booted)
        found = self.read(f"SELECT id FROM samples WHERE {where}", values)
        return int(found[0][0]) if found else 0

    def in_hour(self, monitor: str, begins: float, ends: float) -> list[Sample]:
        """A monitor's samples that the wall clock puts from `begins` until before `ends`."""
        where = "monitor = ? AND at >= ? AND at < ? ORDER BY id"
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
        return [*map(rows.sample, self.read(sql, (monitor, begins, ends)))]

    def samples_after(self, last: int, limit: int = 10_000) -> list[Sample]:
        """Samples of every monitor with an id above `last`, in the order they were written."""
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE id > ? ORDER BY id LIMIT ?"
        return [rows.sample(row) for row in self.read(sql, (last, limit))]

    def looked_by(self, monitor: str, at: float) -> Sample | None:
        """The sample that a wall clock showing `at` had last seen written.

        Where the clock was set, several stretches of time bear the same hour: of those looks that
        are less than `NEAR_S` older, the one written last is meant.
        """
        near = "monitor = ? AND at BETWEEN ? AND ? ORDER BY id DESC LIMIT 1"
        far = "monitor = ? AND at BETWEEN ? AND ? ORDER BY at DESC, id DESC LIMIT 1"
        for where, since in ((near, at - NEAR_S), (far, -math.inf)):
            sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
            if found := self.read(sql, (monitor, since, at)):
                return rows.sample(found[0])
        return None

    def seen_by(self, moment: Moment) -> Sample | None:
        """The last sample of a moment's own boot that was taken until then, by ticks."""
        where = "boot = ? AND tick <= ? ORDER BY id DESC LIMIT 1"
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
        found = self.read(sql, (moment.boot, moment.tick))
        return rows.sample(found[0]) if found else None

    def newest_sample_id(self) -> int:
        """The id of the sample written last; 0 when there is none."""
        return int(self.read("SELECT coalesce(max(id), 0) FROM samples")[0][0])

    # --- the ledger ------------------------------------------------------------------------

    def add_event(self, event: Event) -> int | None:
        """Write a line of the ledger; its id, or None if that start or death is known."""
        if self._known(event):
            return None
        written = self.write([(rows.ADD_EVENT, rows.event_row(event))])[0]
        return written[0][0] if written else None

    def _known(self, event: Event) -> bool:
        """Whether it is a start or death that is written already: to ask keeps nobody from writing.

        The index decides in the end; this one spares most callers its lock.
        """
        same = rows.ONCE.get(event.kind)
        if same is None or event.identity is None:
            return False
        sql = f"SELECT 1 FROM events WHERE identity = ? AND {same}"
        return bool(self.read(sql, (str(event.identity),)))

    def events(
        self,
        after: int = 0,
        role: str | None = None,
        limit: int = 1_000,
        kinds: Sequence[EventKind] = (),
        until: int = NEVER,
    ) -> list[Event]:
        """The newest `limit` lines, oldest first; of a role or of some kinds.

        Their ids are above `after`, and not above `until`.

        Read a page at a time, as `past` is: the hand-over asks for thousands of them every minute.
        """
        where, values = "id > ?", [after, *filter(None, [role]), *kinds]
        where += " AND role = ?" if role else ""
        where += f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        sql = f"SELECT {rows.EVENT} FROM events WHERE {where} AND id < ? ORDER BY id DESC LIMIT ?"
        found: list[Event] = []
        before = min(until + 1, NEVER)
        while (wanted := min(limit - len(found), PAGE)) > 0:
            page = self.read(sql, (*values, before, wanted))
            found += map(rows.event, page)
            if len(page) < wanted:
                break
            before = page[-1][0]
        return found[::-1]

    def lines_after(self, last: int, limit: int) -> list[Event]:
        """The first lines with an id above `last`, in the order they were written."""
        sql = f"SELECT {rows.EVENT} FROM events WHERE id > ? ORDER BY id LIMIT ?"
        return [rows.event(row) for row in self.read(sql, (last, limit))]

    def line_at(self, moment: Moment) -> int:
        """The id of the last line that was written by then; 0 when there was none.

        Lines of the moment's own boot count by ticks. Before the first of them the boot before
        has the last word. A moment of a boot that wrote none, or of no known boot, counts by UTC.
        """
        last = "SELECT id FROM events WHERE {} ORDER BY id DESC LIMIT 1"
        values = (moment.boot, moment.tick)
        if moment.boot and (found := self.read(last.format("boot = ? AND tick <= ?"), values)):
            return int(found[0][0])
        first = self.read("SELECT min(id) FROM events WHERE boot = ? AND boot <> ''", values[:1])
        if first[0][0] is not None:
            found = self.read(last.format("id < ?"), first[0])
        else:
            found = self.read(last.format("at <= ?"), (moment.at,))
        return int(found[0][0]) if found else 0

    def turns(self, role: str, until: int, limit: int) -> list[Event]:
        """What happened to a role among its newest `limit` lines up to id `until`, oldest first.

        Of lines in a row that only confirm what the one before has confirmed (somebody has it
        ensured every minute) the first.
        """
        few = "id, kind, actor"
        newest = f"SELECT {few} FROM events WHERE role = ? AND id <= ? ORDER BY id DESC LIMIT ?"
        before = "lag(kind || ' ' || actor) OVER (ORDER BY id) AS before"
        again = "kind = ? AND before IS kind || ' ' || actor"
        ids = f"SELECT id FROM (SELECT {few}, {before} FROM ({newest})) WHERE NOT ({again})"
        sql = f"SELECT {rows.EVENT} FROM events WHERE id IN ({ids}) ORDER BY id"
        values = (role, until, limit, EventKind.CONFIRMED.value)
        return [rows.event(row) for row in self.read(sql, values)]

    # --- tokens and facts ------------------------------------------------------------------

    def token(self, role: str) -> int:
        """The role's last token that was told to us; 0 when none was."""
        found = self.read("SELECT token FROM tokens WHERE role = ?", (role,))
        return int(found[0][0]) if found else 0

    def keep_token(self, role: str, token: int) -> None:
        """Remember the role's last token."""
        sql = (
            "INSERT INTO tokens (role, token) VALUES (?, ?)"
            " ON CONFLICT (role) DO UPDATE SET token = max(token, excluded.token)"
        )
        self.write([(sql, (role, token))])

    def put(self, key: str, value: Any) -> None:
        """Remember a small JSON value under a key."""
        sql = "INSERT OR REPLACE INTO facts VALUES (?, ?)"
        self.write([(sql, (key, json.dumps(value)))])

    def get(self, key: str) -> Any:
        """The value under `key`, or None."""
        found = self.read("SELECT value FROM facts WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def facts(self, *keys: str) -> dict[str, Any]:
        """The values under these keys, asked for together; None where there is none."""
        sql = f"SELECT key, value FROM facts WHERE key IN ({', '.join('?' * len(keys))})"
        found = {key: json.loads(value) for key, value in self.read(sql, keys)}
        return {key: found.get(key) for key in keys}

    def prove(self) -> None:
        """Write something of no meaning. Raises StoreError where nothing can be written."""
        if self.trouble is not None:
            raise StoreError(self.trouble)
        self.put("proof", clock.now().at)

    # --- upkeep ----------------------------------------------------------------------------

    def changes(self) -> int:
        """A number that differs when anybody has written: far cheaper than a query."""
        others = int(self.read("PRAGMA data_version")[0][0])
        with self._guard:
            return others + self._connection.total_changes() + (self.generation << 32)


def sqlite_version() -> str:
    """The version of SQLite in use."""
    return apsw.sqlite_lib_version()
