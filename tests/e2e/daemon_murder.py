"""SIGKILL for the daemon, again and again, while it writes: nothing that was committed may be lost.

The judge reads the store through a connection of its own, in a process of its own, and remembers
every row that it has ever seen. Before every second kill it lets go of the store, so that the next
daemon is the first to open it and must recover the write-ahead log alone.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import tomli_w

from console.core.model.events import EventKind
from console.demo.environment import create_box, find_free_port
from console.demo.reaper import stop_and_remove_box

ROOT = Path(__file__).resolve().parents[2]
EVERY_S = {"worker": 1.0, "canary": 1.0, "queue": 0.1, "pipeline": 0.1, "watchdog": 0.1}
LONGEST_S = 3.0
"""A daemon lives at most this long after it has said that it began."""
BEGINS_S = 1.0
"""Some are killed within this, before they have said so."""
LOOK_S = 0.005
EARLY_S = 0.001
"""So much before its time a monitor may look: clocks are read one after the other."""
ROWS = "SELECT id, monitor, at, tick, boot, data, error FROM samples WHERE id > ? ORDER BY id"
LINES = "SELECT id, kind, at, reason FROM events WHERE id > ? ORDER BY id"
Row = tuple[Any, ...]


@dataclass(slots=True)
class Toll:
    """What so many kills have shown."""

    kills: int = 0
    writing: int = 0
    """Kills within moments of a write to the log."""
    alone: int = 0
    """Kills after which the next daemon was the first to open the store."""
    samples: int = 0
    events: int = 0
    lost: list[Row] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    doubles: list[tuple[str, float]] = field(default_factory=list)
    """Looks that came before they were due: monitor, seconds since the look before."""
    gaps: list[float] = field(default_factory=list)
    """For each gap: seconds nobody looked, less those in which no daemon ran."""
    down_s: float = 0.0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Nothing lost, damaged or looked at twice; unknown for as long as it was down."""
        close = self.gaps and 0 <= min(self.gaps) <= max(self.gaps) <= EVERY_S["worker"] + LONGEST_S
        return bool(self.samples and close) and not (self.lost or self.damage or self.doubles)

    def words(self) -> str:
        """One line for a person."""
        off = f"{min(self.gaps):.2f} to {max(self.gaps):.2f}" if self.gaps else "–"
        return (
            f"{self.kills} kills ({self.writing} while it wrote, {self.alone} with nobody else at "
            f"the store) in {self.seconds:.0f} s: {self.samples} samples and {self.events} lines "
            f"seen committed, {len(self.lost)} lost; integrity failed {len(self.damage)} times; "
            f"{len(self.doubles)} looks twice for one due time; {len(self.gaps)} gaps, unknown "
            f"longer than the daemon was down ({self.down_s:.0f} s in all) by {off} s each"
        )


class Judge:
    """Reads what is committed, all the time, and forgets nothing."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.seen: dict[str, dict[int, Row]] = {ROWS: {}, LINES: {}}
        self._connection: apsw.Connection | None = None
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def __enter__(self) -> Judge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.leave()

    def _go(self) -> None:
        while not self._stop.wait(LOOK_S):
            with self._guard:
                if self._connection is not None:
                    self._look(self._connection)

    def come(self) -> None:
        """Open the store."""
        with self._guard:
            self._connection = apsw.Connection(str(self.store))
            self._connection.set_busy_timeout(5_000)

    def leave(self) -> None:
        """A last look, then let go of the store."""
        with self._guard:
            if self._connection is not None:
                self._look(self._connection)
                self._connection.close()
                self._connection = None

    def look(self) -> None:
        """Look now, if the store is open."""
        with self._guard:
            if self._connection is not None:
                self._look(self._connection)

    def _look(self, connection: apsw.Connection) -> None:
        for sql, known in self.seen.items():
            for row in connection.execute(sql, (max(known, default=0),)).fetchall():
                known[int(str(row[0]))] = row

    def begun(self) -> dict[int, float]:
        """When each daemon began, by its PID, as the daemons have written."""
        self.look()
        told = [row for row in self.seen[LINES].values() if row[1] == EventKind.DAEMON_STARTED]
        return {int(reason.removeprefix("PID ")): at for _, _, at, reason in told}

    def verify(self) -> tuple[list[Row], str]:
        """(rows that were seen and are not there as they were, what SQLite finds damaged)."""
        with apsw.Connection(str(self.store)) as connection:
            lost = []
            for sql, known in self.seen.items():
                now = {row[0]: row for row in connection.execute(sql, (0,)).fetchall()}
                lost += [row for key, row in known.items() if now.get(key) != row]
            found = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        return lost, "" if found == [("ok",)] else str(found[:3])


@dataclass(slots=True)
class Scene:
    """A box whose monitors look all the time."""

    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / "state" / "store.sqlite"

    def argv(self, *words: str) -> list[str]:
        """Our command line on this box."""
        options = ["--config", str(self.directory / "config.toml")]
        options += ["--state-dir", str(self.directory / "state")]
        return [sys.executable, "-m", "console", *options, *words]

    def daemon(self) -> subprocess.Popen[bytes]:
        """The real daemon, our child: its PID is its own until we have waited for it."""
        with (self.directory / "daemon.log").open("ab") as log:
            return subprocess.Popen(
                self.argv("daemon", "run"), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """A rig box with its queue and worker at work; all of it is gone after."""
    config = create_box(directory, find_free_port())
    settings = tomllib.loads(config.read_text())
    settings["monitors"] = {name: {"every_s": every} for name, every in EVERY_S.items()}
    config.write_text(tomli_w.dumps(settings))
    made = Scene(directory)
    try:
        for role in ("queue", "worker"):
            subprocess.run(made.argv("ensure", role), check=True, cwd=ROOT, capture_output=True)
        yield made
    finally:
        stop_and_remove_box(directory)


def murder(made: Scene, kills: int, dice: random.Random) -> Toll:
    """Kill the daemon so many times, each time another; what is left of what it had written."""
    toll, began = Toll(), time.monotonic()
    deaths: list[tuple[int, float]] = []
    with Judge(made.store) as judge:
        for number in range(kills):
            judge.come()
            daemon = made.daemon()
            try:
                deaths.append((daemon.pid, _life(made, judge, daemon, toll, dice)))
            finally:
                daemon.kill()
                daemon.wait()
            toll.kills += 1
            judge.leave()
            if number % 2 or number + 1 == kills:
                _verify(judge, toll)
        toll.samples, toll.events = (len(known) for known in judge.seen.values())
        born = judge.begun()
        lives = [(born[pid], killed) for pid, killed in deaths if pid in born]
        _weigh(toll, [*judge.seen[ROWS].values()], lives)
    toll.seconds = time.monotonic() - began
    return toll


def _life(
    made: Scene, judge: Judge, daemon: subprocess.Popen[bytes], toll: Toll, dice: random.Random
) -> float:
    """Let it live for a while, then kill it; when that was."""
    how = dice.choice(("as it begins", "at any moment", "at any moment", "as it writes"))
    if how == "as it begins":
        time.sleep(dice.uniform(0.0, BEGINS_S))
    else:
        _await_begin(judge, daemon)
        time.sleep(dice.uniform(0.0, LONGEST_S))
    if dice.random() < 0.5:
        toll.alone += 1
        judge.leave()
    if how == "as it writes":
        toll.writing += _await_write(made.store)
        time.sleep(dice.uniform(0.0, 0.002))
    daemon.kill()
    return time.time()


def _await_begin(judge: Judge, daemon: subprocess.Popen[bytes]) -> None:
    """Until the ledger says that this daemon has begun."""
    deadline = time.monotonic() + 30
    while daemon.pid not in judge.begun():
        assert daemon.poll() is None, "the daemon ended by itself"
        assert time.monotonic() < deadline, "the daemon did not begin"
        time.sleep(LOOK_S)


def _await_write(store: Path) -> bool:
    """Until the log is written to: a commit is under way."""
    log = store.with_name(store.name + "-wal")
    before, deadline = log.stat().st_mtime_ns, time.monotonic() + 1.0
    while time.monotonic() < deadline:
        if log.stat().st_mtime_ns != before:
            return True
    return False


def _verify(judge: Judge, toll: Toll) -> None:
    lost, damage = judge.verify()
    toll.lost += lost
    toll.damage += [damage] if damage else []


def _weigh(toll: Toll, rows: Sequence[Row], lives: Sequence[tuple[float, float]]) -> None:
    """Looks before their time, and how gaps compare with the time that no daemon ran."""
    down = [(killed, born) for (_, killed), (born, _) in pairwise(lives)]
    toll.down_s = sum(until - since for since, until in down)
    for monitor, every in EVERY_S.items():
        for before, after in pairwise(row for row in rows if row[1] == monitor):
            # These look on news as well: deaths, a daemon that begins, a worker that first works.
            if monitor not in ("worker", "queue") and after[3] - before[3] < every - EARLY_S:
                toll.doubles.append((monitor, after[3] - before[3]))
            within = [end - start for start, end in down if before[2] <= start <= end <= after[2]]
            if monitor == "worker" and within:
                toll.gaps.append(after[2] - before[2] - sum(within))
