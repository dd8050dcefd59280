"""One SQLite file for samples, ledger and facts, shared by every peer of a box."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from console.core.model import Event, EventKind, Sample
from console.system import clock, rows
from console.system.backing import Backing, StoreDamaged, StoreError, StoreForeign

__all__ = ["Store", "StoreDamaged", "StoreError", "StoreForeign", "sqlite_version"]


PAGE = 100
"""Rows that are read at once where there may be very many."""
NEVER = (1 << 63) - 1
"""An id above all others."""


class Store(Backing):
    """The store of one box: what every peer knows."""

    # --- samples ---------------------------------------------------------------------------

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Keep observations. Raises StoreError."""
        sql = "INSERT INTO samples (monitor, at, tick, boot, data, error) VALUES (?,?,?,?,?,?)"
        self.write((sql, rows.sample_row(sample)) for sample in samples)

    def samples(
        self, monitor: str, since: float = 0.0, limit: int = 100_000, until: float = math.inf
    ) -> list[Sample]:
        """A monitor's newest `limit` samples `since` to `until` (Unix seconds), oldest first."""
        where = "monitor = ? AND at BETWEEN ? AND ? ORDER BY at DESC, id DESC LIMIT ?"
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
        return [*map(rows.sample, reversed(self.read(sql, (monitor, since, until, limit))))]

    def past(self, monitor: str, since: float, until: float = math.inf) -> Iterator[Sample]:
        """The same without a limit, a page at a time: all rows at once take several times as much
        memory as what is made of them.
        """
        where = "monitor = ? AND (at, id) > (?, ?) AND at <= ? ORDER BY at, id LIMIT ?"
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE {where}"
        at, last = since, -1
        while page := self.read(sql, (monitor, at, last, until, PAGE)):
            yield from map(rows.sample, page)
            last, at = page[-1][0], page[-1][2]
            if len(page) < PAGE:
                return

    def samples_after(self, last: int, limit: int = 10_000) -> list[Sample]:
        """Samples of every monitor with an id above `last`, in the order they were written."""
        sql = f"SELECT {rows.SAMPLE} FROM samples WHERE id > ? ORDER BY id LIMIT ?"
        return [rows.sample(row) for row in self.read(sql, (last, limit))]

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
        until: float = math.inf,
    ) -> list[Event]:
        """The newest `limit` lines after id `after`, oldest first; of a role or of some kinds.

        Read a page at a time, as `past` is: the hand-over asks for thousands of them every minute.
        """
        where, values = "id > ? AND at <= ?", [after, until, *filter(None, [role]), *kinds]
        where += " AND role = ?" if role else ""
        where += f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        sql = f"SELECT {rows.EVENT} FROM events WHERE {where} AND id < ? ORDER BY id DESC LIMIT ?"
        found: list[Event] = []
        before = NEVER
        while (wanted := min(limit - len(found), PAGE)) > 0:
            page = self.read(sql, (*values, before, wanted))
            found += map(rows.event, page)
            if len(page) < wanted:
                break
            before = page[-1][0]
        return found[::-1]

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
