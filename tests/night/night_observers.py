"""Observes the processes of a night and the committed rows of its stores."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
from night_site import Site, tick
from process_helpers import about_to_exec, dead, start_ticks, words

POLL_INTERVAL_S = 0.2
SAMPLES = "SELECT id, monitor, at, tick, boot, data, error FROM samples WHERE id > ? ORDER BY id"
EVENTS = (
    "SELECT id, kind, at, tick, boot, role, actor, reason, identity, token, data FROM events "
    "WHERE id > ? ORDER BY id"
)
NO_CHECKPOINT = apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
Row = tuple[Any, ...]


@dataclass
class Store:
    """The rows of one store that were read while the store was in use."""

    path: Path
    file_id: tuple[int, int]
    samples: dict[int, Row] = field(default_factory=dict)
    events: dict[int, Row] = field(default_factory=dict)
    deleted_by: str = ""
    """The fault that deleted the store; empty if the store exists."""
    ended_at: float = float("inf")
    """Time when the store was moved or deleted."""
    missing: list[Row] = field(default_factory=list)
    """Rows that were read committed and are now missing or different."""
    damage: str = ""

    def read(self, connection: apsw.Connection) -> None:
        """Read the rows that were committed since the last call."""
        for sql, known in ((SAMPLES, self.samples), (EVENTS, self.events)):
            for row in connection.execute(sql, (max(known, default=0),)).fetchall():
                known[int(str(row[0]))] = row

    def verify(self) -> None:
        """Compare the current rows with those that were read, and run SQLite's integrity check."""
        connection = open_store(self.path)
        try:
            for sql, known in ((SAMPLES, self.samples), (EVENTS, self.events)):
                now = {row[0]: row for row in connection.execute(sql, (0,)).fetchall()}
                self.missing += [row for key, row in known.items() if now.get(key) != row]
            problems = connection.execute("PRAGMA integrity_check").fetchall()
        finally:
            connection.close()
        self.damage = "" if problems == [("ok",)] else str(problems[:3])


def open_store(path: Path) -> apsw.Connection:
    """Return a connection that creates no file and makes no checkpoint when it is closed."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.config(NO_CHECKPOINT, 1)
    connection.set_busy_timeout(5_000)
    return connection


class StoreReader:
    """Reader of the current store. It keeps every row."""

    def __init__(self, site: Site) -> None:
        self.path = site.state / "store.sqlite"
        self.stores: list[Store] = []
        self._connection: apsw.Connection | None = None
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> StoreReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._guard:
            self._close()

    def _run(self) -> None:
        while not self._stop.wait(POLL_INTERVAL_S):
            self.poll()

    def poll(self) -> None:
        """Read the new rows now."""
        with self._guard:
            self._poll()

    def _poll(self) -> None:
        with suppress(OSError, apsw.Error):
            if self._connection is None:
                self._open()
            if self._connection is not None:
                self.stores[-1].read(self._connection)

    def _open(self) -> None:
        """Open the store. Raises OSError, apsw.Error."""
        file_id = self._file_id()
        connection = open_store(self.path)
        if file_id != self._file_id() or connection.pragma("user_version") == 0:
            connection.close()
            return
        if (
            not self.stores
            or self.stores[-1].file_id != file_id
            or self.stores[-1].ended_at < tick()
        ):
            self.stores.append(Store(self.path, file_id))
        self._connection = connection

    def _file_id(self) -> tuple[int, int]:
        status = os.stat(self.path)
        return status.st_dev, status.st_ino

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Read the new rows and close the store, so that the next daemon opens it first."""
        with self._guard:
            self._poll()
            self._close()

    @contextmanager
    def during_removal(self, fault: str, directory: Path | None) -> Iterator[None]:
        """Read the store for the last time. The block moves it to `directory`, or deletes it."""
        with self._guard:
            self._poll()
            self._close()
            before = self.stores[-1] if self.stores else None
            yield
            if before is not None:
                before.ended_at = tick()
                before.deleted_by = "" if directory else fault
                before.path = directory / self.path.name if directory else before.path

    def read_to_the_end(self) -> None:
        """Read moved stores to their end, because their daemon still wrote for a short time."""
        with self._guard:
            self._poll()
            self._close()
            for store in self.stores:
                if not store.deleted_by:
                    connection = open_store(store.path)
                    store.read(connection)
                    connection.close()
                    store.verify()


@dataclass
class Observer:
    """Counter of living workers and daemons in /proc."""

    site: Site
    most_workers: int = 0
    most_daemons: int = 0
    observations: int = 0
    workerless_s: float = 0.0
    """Seconds in which /proc showed no worker."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Observer:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        before = tick()
        while not self._stop.wait(POLL_INTERVAL_S):
            argvs = [
                (pid, words(pid)) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            ]
            workers = self._list_confirmed(argvs, self.site.script)
            daemons = self._list_confirmed(argvs, self.site.package / "__main__.py", b"run")
            self.most_workers = max(self.most_workers, len(workers))
            self.most_daemons = max(self.most_daemons, len(daemons))
            self.observations += 1
            now = tick()
            self.workerless_s += 0.0 if workers else now - before
            before = now

    def _list_confirmed(
        self, argvs: list[tuple[int, list[bytes]]], program: Path, word: bytes = b""
    ) -> list[int]:
        """Return the living processes that run the program, without forks before their exec."""
        named = [pid for pid, argv in argvs if runs_program(argv, program, word)]
        living_pids = [pid for pid in named if not dead(pid) and not about_to_exec(pid)]
        return [pid for pid in living_pids if runs_program(words(pid), program, word)]


def runs_program(argv: list[bytes], program: Path, word: bytes = b"") -> bool:
    """Return True if a command line runs the program and contains the word."""
    return os.fsencode(program) in argv[1:3] and (not word or word in argv)


def find_running(program: Path) -> list[int]:
    """Return the living processes that run a program of the box."""
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [
        pid for pid in pids if runs_program(words(pid), program) and start_ticks(pid) is not None
    ]


def kill(pid: int, program: Path) -> bool:
    """Kill the process if it still runs the program. Return True if it was killed."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not runs_program(words(pid), program):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def find_remaining_processes(directory: Path) -> list[int]:
    """Return the living processes whose command line contains a path of the night."""
    mark = os.fsencode(directory) + b"/"
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [pid for pid in pids if any(mark in word for word in words(pid)) and not dead(pid)]
