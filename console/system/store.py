"""One SQLite file for samples, ledger and facts, shared by every peer of a box.

WAL with `synchronous=FULL`: what was committed survives kill -9 and power loss. Any peer may write:
apsw brings a SQLite (3.51.3 or newer) in which two writers cannot corrupt a WAL, whatever version
Python came with. Transactions are short, reads fetch everything at once, so that no cursor keeps
the WAL from being checkpointed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from console.core.model import Event, EventKind, Identity, Moment, Sample

_VERSION = 1
_SCHEMA = """
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, monitor TEXT NOT NULL, at REAL NOT NULL, tick REAL NOT NULL,
    boot TEXT NOT NULL, data TEXT NOT NULL, error TEXT) STRICT;
CREATE INDEX samples_by_monitor ON samples (monitor, at);
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, at REAL NOT NULL,
    tick REAL NOT NULL, boot TEXT NOT NULL, role TEXT NOT NULL, actor TEXT NOT NULL,
    reason TEXT NOT NULL, identity TEXT, token INTEGER, data TEXT NOT NULL) STRICT;
CREATE INDEX events_by_role ON events (role, id);
CREATE UNIQUE INDEX one_start ON events (identity) WHERE kind IN ('started', 'adopted');
CREATE UNIQUE INDEX one_death ON events (identity) WHERE kind = 'died';
CREATE TABLE tokens (role TEXT PRIMARY KEY, token INTEGER NOT NULL) STRICT;
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_SAMPLE = "id, monitor, at, tick, boot, data, error"
_EVENT = "id, kind, at, tick, boot, role, actor, reason, identity, token, data"
TEXT_LIMIT = 4_000


class StoreError(Exception):
    """The store cannot be read or written: the message names the file and the reason."""


class Store:
    """The store of one box. Thread-safe: one connection, one caller at a time."""

    def __init__(self, path: Path | None) -> None:
        """Open or make the store; None keeps everything in memory. Raises StoreError."""
        self.path = path
        self._guard = threading.RLock()
        try:
            self._connection = self._open()
        except (apsw.Error, OSError) as error:
            raise StoreError(f"{path}: {_why(error)}") from error

    def _open(self) -> apsw.Connection:
        if self.path is not None:
            # SQLite would make the file with the umask's mode: ours is private from the start.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        connection = apsw.Connection(str(self.path) if self.path else ":memory:")
        connection.set_busy_timeout(5_000)
        connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        self._migrate(connection)
        return connection

    def _migrate(self, connection: apsw.Connection) -> None:
        version = connection.pragma("user_version")
        if version == _VERSION:
            return
        if version:
            raise StoreError(
                f"{self.path}: was written by another version (schema {version}, not {_VERSION})"
            )
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.pragma("user_version") == 0:  # nobody was faster
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA user_version={_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connection; the last one out checkpoints the WAL."""
        with self._guard:
            self._connection.close()

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._guard:
            try:
                return self._connection.execute(sql, values).fetchall()
            except apsw.Error as error:
                raise StoreError(f"{self.path}: {_why(error)}") from error

    def _write(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Run all statements in one transaction; the rows each returned."""
        with self._guard:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    rows = [self._connection.execute(s, v).fetchall() for s, v in statements]
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                return rows
            except apsw.Error as error:
                raise StoreError(f"{self.path}: {_why(error)}") from error

    # --- samples ---------------------------------------------------------------------------

    def add_samples(self, samples: Iterable[Sample]) -> None:
        """Keep observations. Raises StoreError."""
        sql = "INSERT INTO samples (monitor, at, tick, boot, data, error) VALUES (?,?,?,?,?,?)"
        self._write((sql, _sample_row(sample)) for sample in samples)

    def samples(self, monitor: str, since: float = 0.0, limit: int = 100_000) -> list[Sample]:
        """A monitor's newest `limit` samples from `since` (Unix seconds) on, oldest first."""
        sql = (
            f"SELECT {_SAMPLE} FROM samples WHERE monitor = ? AND at >= ?"
            " ORDER BY at DESC, id DESC LIMIT ?"
        )
        return [_sample(row) for row in reversed(self._read(sql, (monitor, since, limit)))]

    def samples_after(self, last: int, limit: int = 10_000) -> list[Sample]:
        """Samples of every monitor with an id above `last`, in the order they were written."""
        sql = f"SELECT {_SAMPLE} FROM samples WHERE id > ? ORDER BY id LIMIT ?"
        return [_sample(row) for row in self._read(sql, (last, limit))]

    def newest_sample_id(self) -> int:
        """The id of the sample written last; 0 when there is none."""
        return int(self._read("SELECT coalesce(max(id), 0) FROM samples")[0][0])

    # --- the ledger ------------------------------------------------------------------------

    def add_event(self, event: Event) -> int | None:
        """Write a line of the ledger; its id, or None if that start or death is known."""
        sql = (
            "INSERT OR IGNORE INTO events (kind, at, tick, boot, role, actor, reason, identity,"
            " token, data) VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING id"
        )
        rows = self._write([(sql, _event_row(event))])[0]
        return rows[0][0] if rows else None

    def events(self, after: int = 0, role: str | None = None, limit: int = 1_000) -> list[Event]:
        """The newest `limit` lines after id `after`, of one role or of all, oldest first."""
        where, values = "id > ?", [after]
        if role is not None:
            where, values = f"{where} AND role = ?", [*values, role]  # type: ignore[list-item]
        sql = f"SELECT {_EVENT} FROM events WHERE {where} ORDER BY id DESC LIMIT ?"
        return [_event(row) for row in reversed(self._read(sql, (*values, limit)))]

    # --- tokens and facts ------------------------------------------------------------------

    def grant(self, role: str) -> int:
        """The role's next fencing token. Call it while holding the role's lease."""
        sql = (
            "INSERT INTO tokens (role, token) VALUES (?, 1)"
            " ON CONFLICT (role) DO UPDATE SET token = token + 1 RETURNING token"
        )
        return int(self._write([(sql, (role,))])[0][0][0])

    def put(self, key: str, value: Any) -> None:
        """Remember a small JSON value under a key."""
        sql = (
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        self._write([(sql, (key, json.dumps(value)))])

    def get(self, key: str) -> Any:
        """The value under `key`, or None."""
        rows = self._read("SELECT value FROM facts WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    # --- upkeep ----------------------------------------------------------------------------

    def changes(self) -> int:
        """A number that differs when another connection has written: far cheaper than a query."""
        return int(self._read("PRAGMA data_version")[0][0])

    def check(self) -> str | None:
        """What SQLite finds damaged, or None. Raises StoreError."""
        found = self._read("PRAGMA quick_check(3)")
        return None if found == [("ok",)] else "; ".join(str(row[0]) for row in found)

    def prune(self, samples_before: float, events_before: float) -> None:
        """Forget what is older than the given Unix times."""
        self._write(
            [
                ("DELETE FROM samples WHERE at < ?", (samples_before,)),
                ("DELETE FROM events WHERE at < ?", (events_before,)),
            ]
        )


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


def _clean(text: str) -> str:
    """Text that SQLite can keep: lone surrogates escaped, and of bounded length."""
    return text[:TEXT_LIMIT].encode("utf-8", "backslashreplace").decode("utf-8")


def _sample_row(sample: Sample) -> tuple[Any, ...]:
    moment = sample.moment
    error = _clean(sample.error) if sample.error is not None else None
    return (sample.monitor, moment.at, moment.tick, moment.boot, json.dumps(sample.data), error)


def _sample(row: Sequence[Any]) -> Sample:
    key, monitor, at, tick, boot, data, error = row
    return Sample(monitor, Moment(at, tick, boot), json.loads(data), error, key)


def _event_row(event: Event) -> tuple[Any, ...]:
    moment = event.moment
    return (
        event.kind.value,
        moment.at,
        moment.tick,
        moment.boot,
        event.role,
        _clean(event.actor),
        _clean(event.reason),
        str(event.identity) if event.identity else None,
        event.token,
        json.dumps(event.data),
    )


def _event(row: Sequence[Any]) -> Event:
    key, kind, at, tick, boot, role, actor, reason, identity, token, data = row
    known = kind if kind in set(EventKind) else EventKind.NOTICED
    return Event(
        kind=EventKind(known),
        moment=Moment(at, tick, boot),
        role=role,
        actor=actor,
        reason=reason,
        identity=Identity.parse(identity) if identity else None,
        token=token,
        data=json.loads(data),
        id=key,
    )
