"""The file behind a store, whatever befalls it: removed, damaged, locked, on a disk that is full.

WAL with `synchronous=FULL`: what was committed survives kill -9 and power loss. Any peer may write:
apsw brings a SQLite (3.51.3 or newer) in which two writers cannot corrupt a WAL, whatever version
Python came with. Transactions are short, reads fetch everything at once, so that no cursor keeps
the WAL from being checkpointed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from console.core.model import Event, EventKind
from console.core.text.command_hint import step
from console.system import clock
from console.system.store import rows, schema
from console.system.store.sqlite import (
    CACHE_KIB,
    DAMAGED,
    PATIENCE_S,
    Inode,
    connect,
    let_go,
    look,
    opening,
    patience,
    transact,
    why,
    write_ahead,
)

RETRY_S = 2.0
"""How often a store that could not be opened is tried again."""
TRIES = 5
T = TypeVar("T")


class StoreError(Exception):
    """The store cannot be read or written: the message names the file and the reason."""


class StoreDamaged(StoreError):
    """It is no database any more, or a malformed one."""


class StoreForeign(StoreError):
    """Another version has written it: it is whole, and not ours to touch."""


class Backing:
    """The file behind a store, or memory in its place. Thread-safe: one caller at a time."""

    def __init__(self, path: Path | None, mends: bool = False, stands_in: bool = False) -> None:
        """Open or make the store; None keeps everything in memory. Raises StoreError.

        `mends`: a damaged one is moved aside, and a new one begun. `stands_in`: while it cannot be
        opened, everything is kept in memory, and poured into it once it can.
        """
        self.path = path
        self.generation = 0
        """Rises when the file was removed or replaced and a new one was opened: ids begin anew."""
        self.trouble: str | None = None
        """Why everything is in memory only, for now."""
        self._mends = mends
        self._guard = threading.RLock()
        self._retry = 0.0
        self._inode = self._look()
        try:
            self._connection = self._reach()
        except StoreForeign:
            raise
        except StoreError as error:
            if not stands_in:
                raise
            self.trouble, self._connection = _meanwhile(error), self._memory()
            self._retry = clock.tick() + RETRY_S
        self._inode = self._look()

    def _memory(self) -> apsw.Connection:
        connection = apsw.Connection(":memory:")
        self._migrate(connection)
        return connection

    def _open(self) -> apsw.Connection:
        if self.path is None:
            return self._memory()
        try:
            with opening(self.path):
                connection = connect(self.path)
                try:
                    connection.set_busy_handler(patience(PATIENCE_S))
                    connection.execute(f"PRAGMA cache_size={-CACHE_KIB}")
                    write_ahead(connection)
                    self._migrate(connection)
                except BaseException:
                    let_go(connection)
                    raise
        except (apsw.Error, OSError) as error:
            raise self._error(error) from error
        return connection

    def _look(self) -> Inode | None:
        """Which file lies at our path."""
        return look(self.path) if self.path is not None else None

    def _current(self) -> apsw.Connection:
        """The connection, opened anew where the file is not ours any more.

        What is written to a file without a name is lost, and nobody would be told.
        """
        if self.trouble is not None:
            self._come_back()
        elif self.path is not None and self._look() != self._inode:
            let_go(self._turn_to(self._reach()))
        return self._connection

    def _turn_to(self, connection: apsw.Connection) -> apsw.Connection:
        """Go on with another connection; the one before."""
        before, self._connection = self._connection, connection
        self._inode, self.generation = self._look(), self.generation + 1
        return before

    def _come_back(self) -> None:
        """From memory to the file, if it can be opened again, with all that was kept meanwhile."""
        if clock.tick() < self._retry:
            return
        self._retry = clock.tick() + RETRY_S
        try:
            opened = self._reach()
            from console.system.store import recovery

            try:
                recovery.pour(self._connection, opened)
            except apsw.Error as error:
                opened.close()
                raise self._error(error) from error
        except StoreError as error:
            self.trouble = _meanwhile(error)
            return
        words, self.trouble = f"what was kept in memory is saved now ({self.trouble})", None
        _note(opened, words, {})
        self._turn_to(opened).close()

    def _reach(self) -> apsw.Connection:
        """Open it; one that is damaged is moved aside, where that is our business."""
        for left in reversed(range(TRIES)):
            found = self._look()
            try:
                return self._open()
            except StoreForeign:
                raise
            except StoreError as error:
                damaged = self._mends and isinstance(error, StoreDamaged)
                if damaged and (kept := self._set_aside(found)):
                    from console.system.store import recovery

                    opened = self._reach()
                    _begin_anew(opened, recovery.reader(kept), str(error), kept)
                    return opened
                if not (damaged and left):  # else others have moved it: once more
                    raise
        raise AssertionError("unreachable")

    def _set_aside(self, found: Inode | None) -> Path | None:
        from console.system.locks.ofd_lock import LeaseError
        from console.system.store import recovery

        assert self.path is not None
        try:
            return recovery.set_aside(self.path, found)
        except (OSError, LeaseError) as error:
            raise StoreError(f"{self.path}: is damaged, and cannot be moved: {error}") from error

    def _mend(self, damage: str) -> None:
        """Keep the damaged file under another name, and go on with a new one. Raises StoreError."""
        kept = self._set_aside(self._inode)
        old = self._turn_to(self._reach())
        if kept is None:
            let_go(old)
        else:
            _begin_anew(self._connection, old, damage, kept)

    def mend_if_damaged(self) -> None:
        """Look through the whole file; one that is damaged is moved aside. Raises StoreError."""
        with self._guard:
            if self.path is not None and (damage := self._damage(self._current())):
                self._mend(f"{self.path}: {damage}")

    def _damage(self, connection: apsw.Connection) -> str | None:
        try:
            found = connection.execute("PRAGMA quick_check(3)").fetchall()
        except DAMAGED as error:
            return why(error)
        except apsw.Error as error:
            raise self._error(error) from error
        return None if found == [("ok",)] else "; ".join(str(row[0]) for row in found)

    def _error(self, error: Exception) -> StoreError:
        kind = StoreDamaged if isinstance(error, DAMAGED) else StoreError
        from console.system.store import disk_space

        # SQLite calls some of what a full disk does an I/O error.
        full = disk_space.refusal(self.path.parent) if self.path and kind is StoreError else None
        return kind(f"{self.path}: {full or why(error)}")

    def _migrate(self, connection: apsw.Connection) -> None:
        schema.migrate(connection)
        found, ours = schema.version(connection), schema.VERSION
        if found != ours:
            raise StoreForeign(
                f"{self.path}: was written by another version (schema {found}, not {ours})"
            )

    def close(self) -> None:
        """Close the connection; the last one out checkpoints the WAL."""
        with self._guard:
            self._connection.close()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Every row of one query, at once. Raises StoreError."""
        return self._do(lambda connection: connection.execute(sql, values).fetchall())

    def write(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Run all statements in one transaction; the rows each returned. Raises StoreError."""
        wanted = list(statements)
        return self._do(lambda connection: transact(connection, wanted))

    def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do some work; once more where the store was damaged and has been mended."""
        with self._guard:
            try:
                try:
                    return work(self._current())
                except DAMAGED:
                    damage = self._damage(self._connection) if self._mends and self.path else None
                    if damage is None:
                        raise
                    self._mend(f"{self.path}: {damage}")
                    return work(self._connection)
            except apsw.Error as error:
                raise self._error(error) from error

    def check(self) -> str | None:
        """What SQLite finds damaged, or None. Raises StoreError."""
        with self._guard:
            return self._damage(self._current())


def _meanwhile(error: StoreError) -> str:
    """The trouble, and what comes of it."""
    if isinstance(error, StoreDamaged):
        return f"{error}; `{step('daemon start')}` moves it aside and begins a new one"
    return f"{error}; what happens now is kept in memory only"


def _begin_anew(new: apsw.Connection, old: apsw.Connection, damage: str, kept: Path) -> None:
    """Fill a new store with what can be read of the damaged one, and say so in its ledger."""
    from console.system.store import recovery

    saved = recovery.save(old, new)
    let_go(old)
    reason = (
        f"{damage}; kept as {kept.name}; a new one was begun with {saved} rows of it;"
        f" {recovery.advice(kept)}"
    )
    _note(new, reason, {"kept": str(kept)})


def _note(connection: apsw.Connection, reason: str, data: dict[str, str]) -> None:
    event = Event(EventKind.NOTICED, clock.now(), actor="store", reason=reason, data=data)
    connection.execute(rows.ADD_EVENT, rows.event_row(event))
