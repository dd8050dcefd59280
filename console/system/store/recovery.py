"""A damaged store is kept under another name, and what can be read of it is saved.

Nothing is deleted, and only one of all peers moves it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import apsw

from console.system import clock
from console.system.store.sqlite import Inode, look, moving, transact

_TABLES = {
    "facts": "key, value",
    "tokens": "role, token",
    "events": "kind, at, tick, boot, role, actor, reason, identity, token, data",
    "rollups": "monitor, field, step, at, n, sum, squares, min, max",
    "samples": "monitor, at, tick, boot, data, error",
}
_NUMBERED = ("events", "samples")
"""Their ids are given anew."""
_MARK = ".damaged-"


def set_aside(store: Path, found: Inode | None) -> Path | None:
    """Move the damaged store `found` away with its journal; where to, or None if others have.

    Raises LeaseError, OSError.
    """
    with moving(store):
        if look(store) != found:
            return None
        kept = _free_name(store)
        # The journal first: beside a new store it would be played into that.
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{store}{suffix}", f"{kept}{suffix}")
        return kept


def _free_name(store: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock.now().at))
    base = f"{store.stem}{_MARK}{stamp}"
    number = 1
    while (kept := store.with_name(f"{base}{f'-{number}' * (number > 1)}.sqlite")).exists():
        number += 1
    return kept


def kept_files(store: Path) -> list[Path]:
    """The damaged stores that were moved aside and are still there, oldest first."""
    begins = f"{store.stem}{_MARK}"
    try:
        names = sorted(os.listdir(store.parent))
    except OSError:
        return []
    ours = (one for one in names if one.startswith(begins) and one.endswith(".sqlite"))
    return [store.with_name(one) for one in ours]


def advice(kept: Path) -> str:
    """What a person can do with a store that was moved aside."""
    return f"look into it: sqlite3 {kept} .recover; remove it when it is of no use any more"


def pour(source: apsw.Connection, target: apsw.Connection) -> None:
    """Copy every table. Raises apsw.Error where the target cannot take it."""
    for table in _TABLES:
        _pour(source, target, table)


def reader(kept: Path) -> apsw.Connection:
    """What lies in a damaged file, without changing a byte of it, however short it is."""
    from urllib.parse import quote

    place = f"file:{quote(str(kept))}?immutable=1"
    connection = apsw.Connection(place, apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    with contextlib.suppress(apsw.Error):
        connection.execute("PRAGMA writable_schema=ON")  # or a file cut short is not read at all
    return connection


def save(source: apsw.Connection, target: apsw.Connection) -> int:
    """Copy of every table what can be read; the number of rows that the target then has."""
    for table in _TABLES:
        with contextlib.suppress(apsw.Error):
            _pour(source, target, table)
    counted = " + ".join(f"(SELECT count(*) FROM {table})" for table in _TABLES)
    return int(target.execute(f"SELECT {counted}").fetchall()[0][0])  # type: ignore[arg-type]


def _pour(source: apsw.Connection, target: apsw.Connection, table: str) -> None:
    columns, kept = _TABLES[table], table in _NUMBERED
    marks = ", ".join("?" * len(columns.split(",")))
    sql = f"INSERT OR {'IGNORE' if kept else 'REPLACE'} INTO {table} ({columns}) VALUES ({marks})"
    query = f"SELECT {columns} FROM {table}{' ORDER BY id' if kept else ''}"
    transact(target, ((sql, row) for row in _readable(source, query)))


def _readable(source: apsw.Connection, query: str) -> Iterator[tuple[apsw.SQLiteValue, ...]]:
    """The rows before the first one that cannot be read."""
    with contextlib.suppress(apsw.Error):
        yield from source.execute(query)
