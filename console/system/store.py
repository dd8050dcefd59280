"""One SQLite file for samples, ledger and facts, shared by every peer of a box.

WAL with `synchronous=FULL`: what was committed survives kill -9 and power loss. Any peer may write:
apsw brings a SQLite (3.51.3 or newer) in which two writers cannot corrupt a WAL, whatever version
Python came with. Transactions are short, reads fetch everything at once, so that no cursor keeps
the WAL from being checkpointed.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from console.core.model import Event, EventKind, Sample
from console.system import clock, rows, schema

PATIENCE_S = 5.0
"""How long we wait for another one who writes."""


class StoreError(Exception):
    """The store cannot be read or written: the message names the file and the reason."""


class Store:
    """The store of one box. Thread-safe: one connection, one caller at a time."""

    def __init__(self, path: Path | None) -> None:
        """Open or make the store; None keeps everything in memory. Raises StoreError."""
        self.path = path
        self.generation = 0
        """Rises when the file was removed or replaced and a new one was opened: ids begin anew."""
        self._guard = threading.RLock()
        self._connection = self._open()
        self._inode = self._look()

    def _open(self) -> apsw.Connection:
        try:
            if self.path is not None:
                # SQLite would make it with the umask's mode: ours is private from the start.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            connection = apsw.Connection(str(self.path) if self.path else ":memory:")
            try:
                connection.set_busy_timeout(int(PATIENCE_S * 1000))
                _write_ahead(connection)
                self._migrate(connection)
            except BaseException:
                connection.close()
                raise
        except (apsw.Error, OSError) as error:
            raise StoreError(f"{self.path}: {_why(error)}") from error
        return connection

    def _look(self) -> tuple[int, int] | None:
        """Which file lies at our path."""
        try:
            status = os.stat(self.path) if self.path is not None else None
        except OSError:
            return None
        return (status.st_dev, status.st_ino) if status else None

    def _current(self) -> apsw.Connection:
        """The connection, opened anew where the file is not ours any more.

        What is written to a file without a name is lost, and nobody would be told.
        """
        if self.path is not None and self._look() != self._inode:
            old, self._connection = self._connection, self._open()
            self._inode, self.generation = self._look(), self.generation + 1
            # Or closing it would remove the journal of the file that took its name.
            old.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            old.close()
        return self._connection

    def _migrate(self, connection: apsw.Connection) -> None:
        schema.migrate(connection)
        found, ours = schema.version(connection), schema.VERSION
        if found != ours:
            raise StoreError(
                f"{self.path}: was written by another version (schema {found}, not {ours})"
            )

    def close(self) -> None:
        """Close the connection; the last one out checkpoints the WAL."""
        with self._guard:
            self._connection.close()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Every row of one query, at once. Raises StoreError."""
        with self._guard:
            try:
                return self._current().execute(sql, values).fetchall()
            except apsw.Error as error:
                raise StoreError(f"{self.path}: {_why(error)}") from error

    def write(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Run all statements in one transaction; the rows each returned. Raises StoreError."""
        with self._guard:
            try:
                connection = self._current()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    answers = [connection.execute(s, v).fetchall() for s, v in statements]
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                return answers
            except apsw.Error as error:
                raise StoreError(f"{self.path}: {_why(error)}") from error

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
        sql = (
            "INSERT OR IGNORE INTO events (kind, at, tick, boot, role, actor, reason, identity,"
            " token, data) VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING id"
        )
        written = self.write([(sql, rows.event_row(event))])[0]
        return written[0][0] if written else None

    def events(
        self,
        after: int = 0,
        role: str | None = None,
        limit: int = 1_000,
        kinds: Sequence[EventKind] = (),
        until: float = math.inf,
    ) -> list[Event]:
        """The newest `limit` lines after id `after`, oldest first; of a role or of some kinds."""
        where, values = "id > ? AND at <= ?", [after, until, *filter(None, [role]), *kinds]
        where += " AND role = ?" if role else ""
        where += f" AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        sql = f"SELECT {rows.EVENT} FROM events WHERE {where} ORDER BY id DESC LIMIT ?"
        return [rows.event(row) for row in reversed(self.read(sql, (*values, limit)))]

    # --- tokens and facts ------------------------------------------------------------------

    def grant(self, role: str) -> int:
        """The role's next fencing token. Call it while holding the role's lease."""
        sql = (
            "INSERT INTO tokens (role, token) VALUES (?, 1)"
            " ON CONFLICT (role) DO UPDATE SET token = token + 1 RETURNING token"
        )
        return int(self.write([(sql, (role,))])[0][0][0])

    def put(self, key: str, value: Any) -> None:
        """Remember a small JSON value under a key."""
        sql = "INSERT OR REPLACE INTO facts VALUES (?, ?)"
        self.write([(sql, (key, json.dumps(value)))])

    def get(self, key: str) -> Any:
        """The value under `key`, or None."""
        found = self.read("SELECT value FROM facts WHERE key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    # --- upkeep ----------------------------------------------------------------------------

    def changes(self) -> int:
        """A number that differs when anybody has written: far cheaper than a query."""
        others = int(self.read("PRAGMA data_version")[0][0])
        with self._guard:
            return others + self._connection.total_changes() + (self.generation << 32)

    def check(self) -> str | None:
        """What SQLite finds damaged, or None. Raises StoreError."""
        found = self.read("PRAGMA quick_check(3)")
        return None if found == [("ok",)] else "; ".join(str(row[0]) for row in found)


def _write_ahead(connection: apsw.Connection) -> None:
    """Turn to WAL. For this one change SQLite does not wait by itself for others who open it."""
    deadline = clock.tick() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
            return
        except apsw.BusyError:
            if clock.tick() > deadline:
                raise
            time.sleep(0.01)


def sqlite_version() -> str:
    """The version of SQLite in use."""
    return apsw.sqlite_lib_version()


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, apsw.FullError):
        return "the disk is full"
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return f"is damaged or not a database ({error})"
    if isinstance(error, apsw.BusyError):
        return "another process has kept it locked for five seconds"
    return str(error) or type(error).__name__
