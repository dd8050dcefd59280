"""The database file of a store, with handling of removal, damage, locks and full disks.

The file uses WAL with `synchronous=FULL`: committed data survives kill -9 and power loss. Every
process of the box may write: apsw includes a SQLite (3.51.3 or newer) in which two writers cannot
corrupt a WAL, independent of the version that Python includes. Transactions are short, and reads
fetch all rows at once, so that no cursor prevents a checkpoint of the WAL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from console.core.errors import ConsoleError
from console.core.model.events import Event, EventKind
from console.core.text.command_hint import format_command
from console.system import clock
from console.system.store import rows, schema
from console.system.store.sqlite import (
    BUSY_TIMEOUT_S,
    CACHE_KIB,
    DAMAGE_ERRORS,
    Inode,
    busy_handler,
    close_without_checkpoint,
    connect,
    enable_wal,
    explain_error,
    read_inode,
    shared_store_file_lock,
    transact,
)

REOPEN_DELAY_S = 2.0
"""Delay before another attempt to open a store that could not be opened."""
MAX_OPEN_ATTEMPTS = 5
T = TypeVar("T")


class StoreError(ConsoleError):
    """The store cannot be read or written. The message names the file and the reason."""


class StoreDamagedError(StoreError):
    """The file is not a database, or it is malformed."""


class StoreVersionError(StoreError):
    """An intact store that another version has written. It is not changed."""


class Database:
    """The database file of a store, or an in-memory database. Thread-safe by one lock."""

    def __init__(
        self, path: Path | None, repair: bool = False, memory_fallback: bool = False
    ) -> None:
        """Open or create the store; None opens an in-memory database. Raises StoreError.

        `repair`: move a damaged file aside, and create a new one. `memory_fallback`: while the
        file cannot be opened, use an in-memory database, and copy it to the file later.
        """
        self.path = path
        self.generation = 0
        """Incremented when a new file was opened after a removal or replacement: ids restart."""
        self.fallback_reason: str | None = None
        """The reason why the in-memory fallback is in use; None otherwise."""
        self._repair = repair
        self._lock = threading.RLock()
        self._next_retry_at = 0.0
        self._inode = self._read_inode()
        try:
            self._connection = self._open_or_recover()
        except StoreVersionError:
            raise
        except StoreError as error:
            if not memory_fallback:
                raise
            self.fallback_reason, self._connection = (
                _fallback_message(error),
                self._open_in_memory(),
            )
            self._next_retry_at = clock.tick() + REOPEN_DELAY_S
        self._inode = self._read_inode()

    def _open_in_memory(self) -> apsw.Connection:
        connection = apsw.Connection(":memory:")
        self._migrate(connection)
        return connection

    def _open(self) -> apsw.Connection:
        if self.path is None:
            return self._open_in_memory()
        try:
            with shared_store_file_lock(self.path):
                connection = connect(self.path)
                try:
                    connection.set_busy_handler(busy_handler(BUSY_TIMEOUT_S))
                    connection.execute(f"PRAGMA cache_size={-CACHE_KIB}")
                    enable_wal(connection)
                    self._migrate(connection)
                except BaseException:
                    close_without_checkpoint(connection)
                    raise
        except (apsw.Error, OSError) as error:
            raise self._to_store_error(error) from error
        return connection

    def _read_inode(self) -> Inode | None:
        """Return (device, inode) of the file at `self.path`; None if there is none."""
        return read_inode(self.path) if self.path is not None else None

    def _current_connection(self) -> apsw.Connection:
        """Return the connection, reopened if the file at the path was removed or replaced.

        Writes to a file without a name would be lost without an error.
        """
        if self.fallback_reason is not None:
            self._leave_fallback()
        elif self.path is not None and self._read_inode() != self._inode:
            close_without_checkpoint(self._swap_connection(self._open_or_recover()))
        return self._connection

    def _swap_connection(self, connection: apsw.Connection) -> apsw.Connection:
        """Replace the connection. Return the previous one."""
        previous, self._connection = self._connection, connection
        self._inode, self.generation = self._read_inode(), self.generation + 1
        return previous

    def _leave_fallback(self) -> None:
        """Open the file, if that is possible again, and copy the in-memory database to it."""
        if clock.tick() < self._next_retry_at:
            return
        self._next_retry_at = clock.tick() + REOPEN_DELAY_S
        try:
            opened = self._open_or_recover()
            from console.system.store import recovery

            try:
                recovery.copy_all(self._connection, opened)
            except apsw.Error as error:
                opened.close()
                raise self._to_store_error(error) from error
        except StoreError as error:
            self.fallback_reason = _fallback_message(error)
            return
        reason, self.fallback_reason = (
            f"what was kept in memory is saved now ({self.fallback_reason})",
            None,
        )
        _insert_store_event(opened, reason, {})
        self._swap_connection(opened).close()

    def _open_or_recover(self) -> apsw.Connection:
        """Open the store. With `repair`, move a damaged one aside. Raises StoreError."""
        for attempts_left in reversed(range(MAX_OPEN_ATTEMPTS)):
            inode = self._read_inode()
            try:
                return self._open()
            except StoreVersionError:
                raise
            except StoreError as error:
                damaged = self._repair and isinstance(error, StoreDamagedError)
                if damaged and (kept := self._move_damaged_store(inode)):
                    from console.system.store import recovery

                    opened = self._open_or_recover()
                    _restore_readable_rows(opened, recovery.open_damaged(kept), str(error), kept)
                    return opened
                if not (damaged and attempts_left):  # else another process has moved it: retry
                    raise
        raise AssertionError("unreachable")

    def _move_damaged_store(self, damaged_inode: Inode | None) -> Path | None:
        from console.system.locks.ofd_lock import LockFileError
        from console.system.store import recovery

        assert self.path is not None
        try:
            return recovery.move_damaged_store(self.path, damaged_inode)
        except (OSError, LockFileError) as error:
            raise StoreError(f"{self.path}: is damaged, and cannot be moved: {error}") from error

    def _replace_damaged(self, damage: str) -> None:
        """Move the damaged file aside, and continue with a new one. Raises StoreError."""
        kept = self._move_damaged_store(self._inode)
        old = self._swap_connection(self._open_or_recover())
        if kept is None:
            close_without_checkpoint(old)
        else:
            _restore_readable_rows(self._connection, old, damage, kept)

    def repair_if_damaged(self) -> None:
        """Check the whole file, and move it aside if it is damaged. Raises StoreError."""
        with self._lock:
            if self.path is not None and (damage := self._find_damage(self._current_connection())):
                self._replace_damaged(f"{self.path}: {damage}")

    def _find_damage(self, connection: apsw.Connection) -> str | None:
        try:
            results = connection.execute("PRAGMA quick_check(3)").fetchall()
        except DAMAGE_ERRORS as error:
            return explain_error(error)
        except apsw.Error as error:
            raise self._to_store_error(error) from error
        return None if results == [("ok",)] else "; ".join(str(row[0]) for row in results)

    def _to_store_error(self, error: Exception) -> StoreError:
        kind = StoreDamagedError if isinstance(error, DAMAGE_ERRORS) else StoreError
        from console.system.store import disk_space

        # SQLite reports some effects of a full disk as I/O errors.
        refusal = (
            disk_space.write_refusal(self.path.parent) if self.path and kind is StoreError else None
        )
        return kind(f"{self.path}: {refusal or explain_error(error)}")

    def _migrate(self, connection: apsw.Connection) -> None:
        schema.migrate(connection)
        version, ours = schema.read_version(connection), schema.SCHEMA_VERSION
        if version != ours:
            raise StoreVersionError(
                f"{self.path}: was written by another version (schema {version}, not {ours})"
            )

    def close(self) -> None:
        """Close the connection. The last connection to close checkpoints the WAL."""
        with self._lock:
            self._connection.close()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query. Raises StoreError."""
        return self._run(lambda connection: connection.execute(sql, values).fetchall())

    def write(self, statements: Iterable[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Run all statements in one transaction. Return the rows of each. Raises StoreError."""
        statement_list = list(statements)
        return self._run(lambda connection: transact(connection, statement_list))

    def _run(self, operation: Callable[[apsw.Connection], T]) -> T:
        """Run `operation`; run it again after a repair of a damaged store. Raises StoreError."""
        with self._lock:
            try:
                try:
                    return operation(self._current_connection())
                except DAMAGE_ERRORS:
                    damage = (
                        self._find_damage(self._connection) if self._repair and self.path else None
                    )
                    if damage is None:
                        raise
                    self._replace_damaged(f"{self.path}: {damage}")
                    return operation(self._connection)
            except apsw.Error as error:
                raise self._to_store_error(error) from error

    def find_damage(self) -> str | None:
        """Return a description of the damage that SQLite finds, or None. Raises StoreError."""
        with self._lock:
            return self._find_damage(self._current_connection())


def _fallback_message(error: StoreError) -> str:
    """Return the error message, followed by its consequence."""
    if isinstance(error, StoreDamagedError):
        return f"{error}; `{format_command('daemon start')}` moves it aside and begins a new one"
    return f"{error}; what happens now is kept in memory only"


def _restore_readable_rows(
    new: apsw.Connection, old: apsw.Connection, damage: str, damaged_file: Path
) -> None:
    """Copy the readable rows of a damaged store to a new one, and record an event there."""
    from console.system.store import recovery

    saved = recovery.copy_readable(old, new)
    close_without_checkpoint(old)
    reason = (
        f"{damage}; kept as {damaged_file.name}; a new one was begun with {saved} rows of it;"
        f" {recovery.recovery_hint(damaged_file)}"
    )
    _insert_store_event(new, reason, {"kept": str(damaged_file)})


def _insert_store_event(connection: apsw.Connection, reason: str, data: dict[str, str]) -> None:
    event = Event(EventKind.NOTICED, clock.now(), actor="store", reason=reason, data=data)
    connection.execute(rows.INSERT_EVENT_SQL, rows.encode_event(event))
