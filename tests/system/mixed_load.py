"""A mixed load: commands, three consoles, a real daemon, workers started outside, and kills.

Each actor is its own process: `mixed_load.py caller|console PLACE SECONDS SEED`. A console is
represented by its runtime: commands go the way of its keys, bound to the process in its snapshot.
The daemon is the real command. The parent starts outside workers ("strangers") and kills workers.
Afterwards it compares the workers' own logs with the event log, which must explain every process.

A stranger is killed only after an observer has recorded it: a process that lives and dies between
two observations cannot be explained.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contention_counts import Tally
from daemon_process import ROOT, configure
from guard_harness import PYTHON, STARTED, Arena, dead, kill, pids, wait_for, words
from process_helpers import reap

from console.core.model.commands import Command, Verb
from console.core.model.events import EventKind
from console.core.model.processes import Identity
from console.core.records import replace
from console.monitors import discover_monitors
from console.runtime.loop import Runtime
from console.system import clock
from console.system.box import open_box
from console.system.config.loader import load
from console.system.guard.guard import Guard

CALLERS, CONSOLES = 4, 3
VERBS = [Verb.ENSURE] * 5 + [Verb.RESTART] * 2 + [Verb.END_DUPLICATES] * 2 + [Verb.KILL]
BORN = (EventKind.STARTED, EventKind.ADOPTED)
GONE = (EventKind.DIED, EventKind.ENDED)
SETTLED_S = 20.0
"""The time within which the last deaths must be recorded, in seconds."""


# --- the actors -----------------------------------------------------------------------------


def call(place: Path, until: float, dice: random.Random) -> Iterator[int]:
    """Repeat random commands as `rpa-console ensure|restart|kill` and yield their exit codes."""
    with open_box(load(place / "config.toml"), place / "state") as box:
        while time.monotonic() < until:
            command = Command(dice.choice(VERBS), "worker", f"caller:{os.getpid()}")
            yield Guard(box).carry_out(command).code
            time.sleep(dice.uniform(0.0, 0.4))


async def operate(
    place: Path, until: float, dice: random.Random, say: Callable[[int], None]
) -> None:
    """Run a console that follows the snapshots and submits a command from time to time."""
    actor = f"console:{os.getpid()}"
    with open_box(load(place / "config.toml"), place / "state") as box:
        runtime = Runtime(box, discover_monitors())
        async for snapshot in runtime.snapshots():
            if time.monotonic() > until:
                break
            seen = snapshot.roles[0].instances
            command = Command(dice.choice(VERBS), "worker", actor)
            if command.verb in (Verb.KILL, Verb.RESTART) and seen:
                one = dice.choice(seen)
                command = replace(command, target=one.identity, token=one.token)
            say((await runtime.submit(command)).code)
            await asyncio.sleep(dice.uniform(0.0, 0.4))
        if runtime._snapshot_task is not None:
            runtime._snapshot_task.cancel()


def act(kind: str, place: Path, seconds: float, seed: str) -> None:
    """Run one actor and write its exit codes to its own file."""
    until, dice = time.monotonic() + seconds, random.Random(seed)
    with (place / f"answers.{os.getpid()}").open("w") as file:

        def say(code: int) -> None:
            file.write(f"{code}\n")

        if kind == "console":
            asyncio.run(operate(place, until, dice, say))
            return
        for code in call(place, until, dice):
            say(code)


# --- the parent -----------------------------------------------------------------------------


@contextmanager
def daemon(a: Arena) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon by the real command during the block."""
    files = ["--config", str(a.place / "config.toml"), "--state-dir", str(a.place / "state")]
    with (a.place / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "console", *files, "daemon", "run"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: process.poll() is not None or a.box.store.samples("worker"), 60)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def mixed(a: Arena, seconds: float, dice: random.Random) -> Tally:
    """Run all actors for some seconds and return the tally."""
    tally, began = Tally(rounds=1), time.monotonic()
    configure(a)
    with daemon(a) as servant:
        kinds = ["caller"] * CALLERS + ["console"] * CONSOLES
        actors = [
            subprocess.Popen(
                [sys.executable, __file__, kind, str(a.place), str(seconds), str(dice.random())],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
            )
            for kind in kinds
        ]
        while any(one.poll() is None for one in actors):
            disturb(a, dice, tally)
            time.sleep(0.02)  # the sample interval, as in `contention`
        crashed = [one for one in (*actors, servant) if one.poll()]
        judge(a, tally)
        tally.unexplained += [f"{one.args} ended with {one.returncode}" for one in crashed]
    tally.seconds = time.monotonic() - began
    return tally


def disturb(a: Arena, dice: random.Random, tally: Tally) -> None:
    """Take a sample. At random, start a stranger or kill a worker."""
    leased, strangers = workers(a)
    tally.looks += 1
    tally.most_at_once = max(tally.most_at_once, len(leased))
    if dice.random() < 0.05 and not strangers:
        argv = [*PYTHON, str(a.script), str(a.place), "stranger"]
        STARTED.append(os.posix_spawn(PYTHON[0], argv, os.environ, setsid=True))
    if dice.random() < 0.06 and leased:
        tally.killed["workers"] += 1
        kill(dice.choice(leased))
    if dice.random() < 0.1 and strangers:
        known = {e.identity.pid for e in a.events(EventKind.ADOPTED) if e.identity}
        for pid in known & set(strangers):
            tally.killed["strangers"] += 1
            kill(pid)
    reap()


def workers(a: Arena) -> tuple[list[int], list[int]]:
    """Return the PIDs of the living leased workers and of the living strangers."""
    mark, leased, strangers = os.fsencode(str(a.script)), [], []
    for pid in pids():
        argv = words(pid)
        if mark in argv:
            (strangers if b"stranger" in argv else leased).append(pid)
    return leased, strangers


# --- the judge ------------------------------------------------------------------------------


def judge(a: Arena, tally: Tally) -> None:
    """Check that `ensure` leads to one worker, then end it and check the event log."""
    a.do(Verb.END_DUPLICATES)  # `ensure` ends no duplicates
    outcome = a.do(Verb.ENSURE)
    living = [pid for some in workers(a) for pid in some if not dead(pid)]
    if not outcome.done or len(living) != 1 or outcome.pid not in (None, *living):
        tally.not_healed += 1
        tally.notes.append(f"not healed: {outcome.message}; living: {living}")
    a.do(Verb.KILL)
    until = time.monotonic() + SETTLED_S
    while (left := unexplained(a)) and time.monotonic() < until:
        time.sleep(0.2)  # each check reads the whole event log
    tally.unexplained = left
    tally.duplicate_rounds = len(a.duplicates)
    tally.starts = len(a.lines("lives"))
    answers = [path.read_text().split() for path in a.place.glob("answers.*")]
    tally.callers = sum(map(len, answers))


def unexplained(a: Arena) -> list[str]:
    """Return the processes without a start or an end in the event log."""
    events = [e for e in a.events() if e.identity]
    born = {e.identity for e in events if e.kind in BORN}
    gone = {e.identity for e in events if e.kind in GONE}
    boot, found = clock.boot_id(), []
    for line in a.lines("lives"):
        pid, ticks, _ = line.split()
        identity = Identity(int(pid), int(ticks), boot)
        if identity not in born:
            found.append(f"{line}: no start")
        if identity not in gone and dead(identity.pid):
            found.append(f"{line}: no end")
    return found


if __name__ == "__main__":
    act(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
