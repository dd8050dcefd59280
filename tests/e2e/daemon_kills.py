"""Kill the daemon repeatedly with SIGKILL while it writes. No committed row may be lost.

The judge reads the store from the test process over its own connection, and keeps every row that
it has seen. Before about every second kill it closes the connection. The next daemon is then the
first process to open the store, and must recover the write-ahead log alone.
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
"""A daemon lives at most this long after it has recorded its start."""
BEGINS_S = 1.0
"""Some daemons are killed within this time, possibly before they have recorded their start."""
LOOK_S = 0.005
EARLY_S = 0.001
"""A monitor may run this much early, because the clocks are read one after the other."""
ROWS = "SELECT id, monitor, at, tick, boot, data, error FROM samples WHERE id > ? ORDER BY id"
LINES = "SELECT id, kind, at, reason FROM events WHERE id > ? ORDER BY id"
Row = tuple[Any, ...]


@dataclass(slots=True)
class Toll:
    """The results of a series of kills."""

    kills: int = 0
    writing: int = 0
    """Kills shortly after a write to the write-ahead log."""
    alone: int = 0
    """Kills after which the next daemon was the first to open the store."""
    samples: int = 0
    events: int = 0
    lost: list[Row] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    doubles: list[tuple[str, float]] = field(default_factory=list)
    """Observations before their due time, as (monitor, seconds since the previous observation)."""
    gaps: list[float] = field(default_factory=list)
    """For each gap: seconds without an observation, less the seconds without a daemon."""
    down_s: float = 0.0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Tell whether no row is lost, damaged or doubled, and every gap matches the downtime."""
        close = self.gaps and 0 <= min(self.gaps) <= max(self.gaps) <= EVERY_S["worker"] + LONGEST_S
        return bool(self.samples and close) and not (self.lost or self.damage or self.doubles)

    def words(self) -> str:
        """Return a summary in one line."""
        off = f"{min(self.gaps):.2f} to {max(self.gaps):.2f}" if self.gaps else "–"
        return (
            f"{self.kills} kills ({self.writing} while it wrote, {self.alone} with nobody else at "
            f"the store) in {self.seconds:.0f} s: {self.samples} samples and {self.events} lines "
            f"seen committed, {len(self.lost)} lost; integrity failed {len(self.damage)} times; "
            f"{len(self.doubles)} looks twice for one due time; {len(self.gaps)} gaps, unknown "
            f"longer than the daemon was down ({self.down_s:.0f} s in all) by {off} s each"
        )


class Judge:
    """Reads the committed rows continuously, and keeps every row that it has seen."""

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
        """Read the store a last time, then close it."""
        with self._guard:
            if self._connection is not None:
                self._look(self._connection)
                self._connection.close()
                self._connection = None

    def look(self) -> None:
        """Read the store now, if it is open."""
        with self._guard:
            if self._connection is not None:
                self._look(self._connection)

    def _look(self, connection: apsw.Connection) -> None:
        for sql, known in self.seen.items():
            for row in connection.execute(sql, (max(known, default=0),)).fetchall():
                known[int(str(row[0]))] = row

    def begun(self) -> dict[int, float]:
        """Return the recorded start time of each daemon by its PID."""
        self.look()
        told = [row for row in self.seen[LINES].values() if row[1] == EventKind.DAEMON_STARTED]
        return {int(reason.removeprefix("PID ")): at for _, _, at, reason in told}

    def verify(self) -> tuple[list[Row], str]:
        """Return (rows that were seen and are now missing or changed, damage that SQLite finds)."""
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
    """A box whose monitors run at short intervals."""

    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / "state" / "store.sqlite"

    def argv(self, *words: str) -> list[str]:
        """Return the argv of a console command on this box."""
        options = ["--config", str(self.directory / "config.toml")]
        options += ["--state-dir", str(self.directory / "state")]
        return [sys.executable, "-m", "console", *options, *words]

    def daemon(self) -> subprocess.Popen[bytes]:
        """Start the real daemon as a child, so that its PID is not reused before the wait."""
        with (self.directory / "daemon.log").open("ab") as log:
            return subprocess.Popen(
                self.argv("daemon", "run"), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """Run a demo box with its queue server and worker, and remove it afterwards."""
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
    """Start and kill a daemon the given number of times, and return the results."""
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
    """Kill the daemon after a random time, and return the time of the kill."""
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
    """Wait until the store holds the start event of this daemon."""
    deadline = time.monotonic() + 30
    while daemon.pid not in judge.begun():
        assert daemon.poll() is None, "the daemon ended by itself"
        assert time.monotonic() < deadline, "the daemon did not begin"
        time.sleep(LOOK_S)


def _await_write(store: Path) -> bool:
    """Wait for a write to the write-ahead log, which means that a commit is under way."""
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
    """Collect early observations, and compare the gaps with the time without a daemon."""
    down = [(killed, born) for (_, killed), (born, _) in pairwise(lives)]
    toll.down_s = sum(until - since for since, until in down)
    for monitor, every in EVERY_S.items():
        for before, after in pairwise(row for row in rows if row[1] == monitor):
            # Events also trigger these two: a death, a daemon's start, a worker's first task.
            if monitor not in ("worker", "queue") and after[3] - before[3] < every - EARLY_S:
                toll.doubles.append((monitor, after[3] - before[3]))
            within = [end - start for start, end in down if before[2] <= start <= end <= after[2]]
            if monitor == "worker" and within:
                toll.gaps.append(after[2] - before[2] - sum(within))
