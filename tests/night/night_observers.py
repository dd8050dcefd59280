"""Two observers of a night: one of the processes, one of the rows that are committed."""

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
from beings import about_to_exec, dead, start_ticks, words
from night_site import Site, tick

LOOK_S = 0.2
SAMPLES = "SELECT id, monitor, at, tick, boot, data, error FROM samples WHERE id > ? ORDER BY id"
EVENTS = (
    "SELECT id, kind, at, tick, boot, role, actor, reason, identity, token, data FROM events "
    "WHERE id > ? ORDER BY id"
)
NO_CHECKPOINT = apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
Row = tuple[Any, ...]


@dataclass
class Store:
    """One store, from its first line to its end, as it was seen."""

    path: Path
    file: tuple[int, int]
    samples: dict[int, Row] = field(default_factory=dict)
    events: dict[int, Row] = field(default_factory=dict)
    lost: str = ""
    """The operator's act that has deleted it; empty: it still exists."""
    until: float = float("inf")
    """When it was moved or deleted."""
    missing: list[Row] = field(default_factory=list)
    """Rows that were seen committed and are not there as they were."""
    damage: str = ""

    def read(self, connection: apsw.Connection) -> None:
        """Keep the rows that were committed since the last look."""
        for sql, known in ((SAMPLES, self.samples), (EVENTS, self.events)):
            for row in connection.execute(sql, (max(known, default=0),)).fetchall():
                known[int(str(row[0]))] = row

    def verify(self) -> None:
        """Compare the rows of now with those that were seen, and have SQLite check the file."""
        connection = opened(self.path)
        try:
            for sql, known in ((SAMPLES, self.samples), (EVENTS, self.events)):
                now = {row[0]: row for row in connection.execute(sql, (0,)).fetchall()}
                self.missing += [row for key, row in known.items() if now.get(key) != row]
            found = connection.execute("PRAGMA integrity_check").fetchall()
        finally:
            connection.close()
        self.damage = "" if found == [("ok",)] else str(found[:3])


def opened(path: Path) -> apsw.Connection:
    """Open a connection that makes no file, and writes nothing when it is closed."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.config(NO_CHECKPOINT, 1)
    connection.set_busy_timeout(5_000)
    return connection


class StoreReader:
    """The reader of the store in force. It keeps every row."""

    def __init__(self, site: Site) -> None:
        self.path = site.state / "store.sqlite"
        self.stores: list[Store] = []
        self._connection: apsw.Connection | None = None
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def __enter__(self) -> StoreReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        with self._guard:
            self._leave()

    def _go(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Look now."""
        with self._guard:
            self._look()

    def _look(self) -> None:
        with suppress(OSError, apsw.Error):
            if self._connection is None:
                self._come()
            if self._connection is not None:
                self.stores[-1].read(self._connection)

    def _come(self) -> None:
        """Open the store. Raises OSError, apsw.Error."""
        file = self._file()
        connection = opened(self.path)
        if file != self._file() or connection.pragma("user_version") == 0:
            connection.close()
            return
        if not self.stores or self.stores[-1].file != file or self.stores[-1].until < tick():
            self.stores.append(Store(self.path, file))
        self._connection = connection

    def _file(self) -> tuple[int, int]:
        status = os.stat(self.path)
        return status.st_dev, status.st_ino

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def let_go(self) -> None:
        """Take a last look and close the store: the next daemon is the first to open it."""
        with self._guard:
            self._look()
            self._leave()

    @contextmanager
    def while_it_goes(self, act: str, place: Path | None) -> Iterator[None]:
        """Look for the last time; the block then moves the store to `place`, or deletes it."""
        with self._guard:
            self._look()
            self._leave()
            before = self.stores[-1] if self.stores else None
            yield
            if before is not None:
                before.until = tick()
                before.lost = "" if place else act
                before.path = place / self.path.name if place else before.path

    def read_to_the_end(self) -> None:
        """Read the stores that were moved to their end: their daemon wrote there for moments."""
        with self._guard:
            self._look()
            self._leave()
            for store in self.stores:
                if not store.lost:
                    connection = opened(store.path)
                    store.read(connection)
                    connection.close()
                    store.verify()


@dataclass
class Observer:
    """The counter of living workers and daemons in /proc."""

    site: Site
    most_workers: int = 0
    most_daemons: int = 0
    looks: int = 0
    without_s: float = 0.0
    """Seconds for which no worker was seen."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Observer:
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _go(self) -> None:
        before = tick()
        while not self._stop.wait(LOOK_S):
            argvs = [
                (pid, words(pid)) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            ]
            workers = self._certain(argvs, self.site.script)
            daemons = self._certain(argvs, self.site.package / "__main__.py", b"run")
            self.most_workers = max(self.most_workers, len(workers))
            self.most_daemons = max(self.most_daemons, len(daemons))
            self.looks += 1
            now = tick()
            self.without_s += 0.0 if workers else now - before
            before = now

    def _certain(
        self, argvs: list[tuple[int, list[bytes]]], program: Path, word: bytes = b""
    ) -> list[int]:
        """List the living processes that run the program; a fork that has yet to exec is none."""
        named = [pid for pid, argv in argvs if runs(argv, program, word)]
        living = [pid for pid in named if not dead(pid) and not about_to_exec(pid)]
        return [pid for pid in living if runs(words(pid), program, word)]


def runs(argv: list[bytes], program: Path, word: bytes = b"") -> bool:
    """Return whether a command line runs the program, with the word among its own."""
    return os.fsencode(program) in argv[1:3] and (not word or word in argv)


def running(program: Path) -> list[int]:
    """List the living processes that run a program of the box."""
    found = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [pid for pid in found if runs(words(pid), program) and start_ticks(pid) is not None]


def kill(pid: int, program: Path) -> bool:
    """Kill this very process, if it still runs the program."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not runs(words(pid), program):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def left_over(place: Path) -> list[int]:
    """List the living processes whose command line names a path of the night."""
    mark = os.fsencode(place) + b"/"
    found = map(int, filter(str.isdigit, os.listdir("/proc")))
    return [pid for pid in found if any(mark in one for one in words(pid)) and not dead(pid)]
