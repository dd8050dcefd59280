"""SQLite connections in WAL mode, transactions, store file locks and error messages."""

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

BUSY_TIMEOUT_S = 5.0
"""Time to wait for another writer."""
_BUSY_RETRY_DELAY_S, _MAX_BUSY_RETRY_DELAY_S = 0.001, 0.01
CACHE_KIB = 256
"""SQLite's page cache; its default is 2 MB. The kernel caches the file as well."""
WAL_SIZE_LIMIT_BYTES = 32 + 1_000 * (24 + 4_096)
"""Size of a write-ahead log at SQLite's automatic checkpoint: 1000 pages with their headers.

A long read transaction can make the log grow beyond it. The next write that restarts the log
truncates it to this size.
"""
DAMAGE_ERRORS = (apsw.NotADBError, apsw.CorruptError)

Inode = tuple[int, int]


def read_inode(path: Path) -> Inode | None:
    """Return (device, inode) of the file at `path`; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def connect(path: Path) -> apsw.Connection:
    """Open or create a database. Raises apsw.Error, OSError.

    A new file is created with mode 0600 (SQLite would apply the umask), and without following a
    link. An existing file is opened by SQLite only: a process that closes a descriptor of a file
    loses all POSIX locks on it, including those of its other connections.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW
    return apsw.Connection(os.path.join(os.path.realpath(path.parent), path.name), flags)


def busy_handler(timeout_s: float) -> Callable[[int], bool]:
    """Return a busy handler for SQLite that retries for `timeout_s` seconds.

    SQLite's own handler sleeps up to 0.1 s at a time, but other writers need a few milliseconds.
    """
    until = 0.0

    def again(tries: int) -> bool:
        nonlocal until
        now = clock.tick()
        if tries == 0:
            until = now + timeout_s
        time.sleep(min(_BUSY_RETRY_DELAY_S * (tries + 1), _MAX_BUSY_RETRY_DELAY_S))
        return now < until

    return again


@contextmanager
def store_file_lock(store: Path, shared: bool = False) -> Iterator[None]:
    """Hold the lock that excludes a move of the store while it is opened (`shared`: to open it).

    SQLite finds journals by name: a process that has opened the previous file at the path would
    replay the journal of its successor into it. Raises LockFileError, OSError.
    """
    path = store.with_name(f"{store.stem}.lock")
    deadline = clock.tick() + 2 * BUSY_TIMEOUT_S
    while (held_lock := ofd_lock.acquire(path, shared)) is None:
        if clock.tick() > deadline:
            raise OSError(0, f"others have held {path} for {2 * BUSY_TIMEOUT_S:g} s")
        time.sleep(0.01)
    try:
        yield
    finally:
        held_lock.close()


@contextmanager
def shared_store_file_lock(store: Path) -> Iterator[None]:
    """Hold the shared store file lock, so that no process moves the store while it is opened.

    If the lock file is unusable, continue without the lock: no process can move the store then.
    Raises OSError.
    """
    with ExitStack() as stack:
        with contextlib.suppress(ofd_lock.LockFileError):
            stack.enter_context(store_file_lock(store, shared=True))
        yield


def enable_wal(connection: apsw.Connection) -> None:
    """Switch to WAL mode. SQLite itself does not wait for other processes during this change.

    Raises apsw.Error.
    """
    deadline = clock.tick() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={WAL_SIZE_LIMIT_BYTES}")
            return
        except apsw.BusyError:
            if clock.tick() > deadline:
                raise
            time.sleep(0.01)


def explain_error(error: Exception) -> str:
    """Return the error as a message for the operator."""
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
    """Run all statements in one transaction. Return the rows of each. Raises apsw.Error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [connection.execute(sql, values).fetchall() for sql, values in statements]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def close_without_checkpoint(connection: apsw.Connection) -> None:
    """Close a connection whose file was moved or removed: the journal may be another file's."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close()
