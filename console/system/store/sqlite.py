"""One connection to SQLite: turned to WAL, one transaction, and why it failed, in words."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apsw

from console.system import clock
from console.system.locks import ofd_lock

PATIENCE_S = 5.0
"""How long we wait for another one who writes."""
_PAUSE_S, _PAUSE_MAX_S = 0.001, 0.01
CACHE_KIB = 256
"""Of pages that SQLite keeps of a file which the kernel keeps anyway: 2 MB unless it is told."""
LOG_BYTES = 32 + 1_000 * (24 + 4_096)
"""A write-ahead log of the pages after which SQLite moves them into the store, and their headers.

What it has become while somebody read for long is given back with the next write from its start.
"""
DAMAGED = (apsw.NotADBError, apsw.CorruptError)

Inode = tuple[int, int]


def look(path: Path) -> Inode | None:
    """Which file lies at a path."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def connect(path: Path) -> apsw.Connection:
    """Open or make a database. Raises apsw.Error, OSError.

    It is private from the start, where SQLite would make it with the umask's mode, and no link.
    One that is there is opened by SQLite alone: whoever closes a descriptor of a file drops all
    locks that his process has on it, those of other connections as well.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    return apsw.Connection(os.path.join(os.path.realpath(path.parent), path.name), flags)


def patience(seconds: float) -> Callable[[int], bool]:
    """What SQLite asks while another one writes: whether to try again, now.

    Its own handler sleeps up to 0.1 s at a time; others write for a few milliseconds.
    """
    until = 0.0

    def again(tries: int) -> bool:
        nonlocal until
        now = clock.tick()
        if tries == 0:
            until = now + seconds
        time.sleep(min(_PAUSE_S * (tries + 1), _PAUSE_MAX_S))
        return now < until

    return again


@contextmanager
def moving(store: Path, shared: bool = False) -> Iterator[None]:
    """While a store is moved nobody opens it, and while some open it (`shared`) nobody moves it.

    SQLite finds journals by name: who has opened the file that lay there before would play the
    journal of its successor into it. Raises LeaseError, OSError.
    """
    path = store.with_name(f"{store.stem}.lock")
    deadline = clock.tick() + 2 * PATIENCE_S
    while (grant := ofd_lock.take(path, shared)) is None:
        if clock.tick() > deadline:
            raise OSError(0, f"others have held {path} for {2 * PATIENCE_S:g} s")
        time.sleep(0.01)
    try:
        yield
    finally:
        grant.close()


@contextmanager
def opening(store: Path) -> Iterator[None]:
    """Nobody moves a store while it is opened; where that lock cannot be had, nobody can at all.

    Raises OSError.
    """
    with ExitStack() as stack:
        with contextlib.suppress(ofd_lock.LeaseError):
            stack.enter_context(moving(store, shared=True))
        yield


def write_ahead(connection: apsw.Connection) -> None:
    """Turn to WAL. For this one change SQLite does not wait by itself for others who open it."""
    deadline = clock.tick() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")
            return
        except apsw.BusyError:
            if clock.tick() > deadline:
                raise
            time.sleep(0.01)


def why(error: Exception) -> str:
    """What went wrong, for a person."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, apsw.FullError):
        return "the disk is full"
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return f"is damaged or not a database ({error})"
    if isinstance(error, apsw.BusyError):
        return "another process has kept it locked for five seconds"
    return str(error) or type(error).__name__


def transact(
    connection: apsw.Connection, statements: Iterable[tuple[str, Sequence[Any]]]
) -> list[list[Any]]:
    """Run all statements in one transaction; the rows each returned. Raises apsw.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = [connection.execute(s, v).fetchall() for s, v in statements]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answers


def let_go(connection: apsw.Connection) -> None:
    """Close one whose file has lost its name: its journal may be another file's by now."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
