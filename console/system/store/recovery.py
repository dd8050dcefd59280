"""Recovery of a damaged store: keeps it under another name, and copies its readable rows.

Nothing is deleted, and only one process moves the store.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from console.system import clock
from console.system.store.sqlite import Inode, read_inode, store_file_lock, transact

_TABLES = {
    "facts": "key, value",
    "tokens": "role, token",
    "events": "kind, at, tick, boot, role, actor, reason, identity, token, data",
    "rollups": "monitor, field, step, at, n, sum, squares, min, max",
    "samples": "monitor, at, tick, boot, data, error",
}
_AUTO_ID_TABLES = ("events", "samples")
"""Tables whose rows get new ids when they are copied."""
_DAMAGED_MARK = ".damaged-"


def move_damaged_store(store: Path, damaged_inode: Inode | None) -> Path | None:
    """Move the store with `damaged_inode` and its journal aside. Return its new path.

    Return None if another process has moved it. Raises LockFileError, OSError.
    """
    with store_file_lock(store):
        if read_inode(store) != damaged_inode:
            return None
        kept = _unused_path(store)
        # The journal first: SQLite would replay it into a new store at this path.
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{store}{suffix}", f"{kept}{suffix}")
        return kept


def _unused_path(store: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.now().at))
    base = f"{store.stem}{_DAMAGED_MARK}{stamp}"
    number = 1
    while (kept := store.with_name(f"{base}{f'-{number}' * (number > 1)}.sqlite")).exists():
        number += 1
    return kept


def list_damaged_stores(store: Path) -> list[Path]:
    """Return the damaged stores that were moved aside and still exist, oldest first."""
    prefix = f"{store.stem}{_DAMAGED_MARK}"
    try:
        names = sorted(os.listdir(store.parent))
    except OSError:
        return []
    damaged = (name for name in names if name.startswith(prefix) and name.endswith(".sqlite"))
    return [store.with_name(name) for name in damaged]


def recovery_hint(damaged_file: Path) -> str:
    """Return the operator's options for a store that was moved aside, as text."""
    return f"look into it: sqlite3 {damaged_file} .recover; remove it when it is of no use any more"


def copy_all(source: apsw.Connection, target: apsw.Connection) -> None:
    """Copy every table. Raises apsw.Error if the target cannot be written."""
    for table in _TABLES:
        _copy_table(source, target, table)


def open_damaged(damaged_file: Path) -> apsw.Connection:
    """Open a damaged file for reading, without changing it. Accepts a truncated file."""
    from urllib.parse import quote

    uri = f"file:{quote(str(damaged_file))}?immutable=1"
    connection = apsw.Connection(uri, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    with contextlib.suppress(apsw.Error):
        connection.execute("PRAGMA writable_schema=ON")  # needed to read a truncated file
    return connection


def copy_readable(source: apsw.Connection, target: apsw.Connection) -> int:
    """Copy the readable rows of every table. Return the number of rows in the target."""
    for table in _TABLES:
        with contextlib.suppress(apsw.Error):
            _copy_table(source, target, table)
    counted = " + ".join(f"(SELECT count(*) FROM {table})" for table in _TABLES)
    return int(target.execute(f"SELECT {counted}").fetchall()[0][0])  # type: ignore[arg-type]


def _copy_table(source: apsw.Connection, target: apsw.Connection, table: str) -> None:
    columns, renumber = _TABLES[table], table in _AUTO_ID_TABLES
    marks = ", ".join("?" * len(columns.split(",")))
    sql = (
        f"INSERT OR {'IGNORE' if renumber else 'REPLACE'} INTO {table} ({columns}) VALUES ({marks})"
    )
    query = f"SELECT {columns} FROM {table}{' ORDER BY id' if renumber else ''}"
    transact(target, ((sql, row) for row in _readable_rows(source, query)))


def _readable_rows(source: apsw.Connection, query: str) -> Iterator[tuple[apsw.SQLiteValue, ...]]:
    """Yield the rows before the first unreadable one."""
    with contextlib.suppress(apsw.Error):
        yield from source.execute(query)
