"""Everything at once: commands, three consoles, a real daemon, strangers and kills.

Each actor is a process of its own: `mixed.py caller|console PLACE SECONDS SEED`. A console is its
runtime: what its keys submit goes the same way, bound to the process that its snapshot shows. The
daemon is the real command. The parent starts strangers and kills workers, and judges afterwards by
what the workers wrote of themselves: the ledger must explain every life.

A stranger is killed only once somebody has seen it: who lives and dies between two looks of
everybody is nobody's to explain.
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
from dataclasses import replace
from pathlib import Path

from arena import PYTHON, STARTED, Arena, dead, kill, pids, wait_for, words
from beings import reap
from servant import ROOT, configure
from tally import Tally

from console.core.model.commands import Command, Verb
from console.core.model.events import EventKind
from console.core.model.processes import Identity
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
"""How long the last deaths may take to be told."""


# --- the actors -----------------------------------------------------------------------------


def call(place: Path, until: float, dice: random.Random) -> Iterator[int]:
    """What `rpa-console ensure|restart|kill` does, again and again."""
    with open_box(load(place / "config.toml"), place / "state") as box:
        while time.monotonic() < until:
            command = Command(dice.choice(VERBS), "worker", f"caller:{os.getpid()}")
            yield Guard(box).carry_out(command).code
            time.sleep(dice.uniform(0.0, 0.4))


async def operate(
    place: Path, until: float, dice: random.Random, say: Callable[[int], None]
) -> None:
    """A console that follows, and presses a key now and then."""
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
    """An actor's whole life; its answers, as exit codes, go to a file of its own."""
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
    """The monitors' daemon, as the real command."""
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
    """All of them for some seconds; then what came of it."""
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
            time.sleep(0.02)  # how often it is looked, as in a battle
        crashed = [one for one in (*actors, servant) if one.poll()]
        judge(a, tally)
        tally.unexplained += [f"{one.args} ended with {one.returncode}" for one in crashed]
    tally.seconds = time.monotonic() - began
    return tally


def disturb(a: Arena, dice: random.Random, tally: Tally) -> None:
    """Look, and now and then start a stranger or kill a worker."""
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
    """PIDs of the leased workers that live, and of those that others have started."""
    mark, leased, strangers = os.fsencode(str(a.script)), [], []
    for pid in pids():
        argv = words(pid)
        if mark in argv:
            (strangers if b"stranger" in argv else leased).append(pid)
    return leased, strangers


# --- the judge ------------------------------------------------------------------------------


def judge(a: Arena, tally: Tally) -> None:
    """One ensure leads to exactly one; then nothing may live, and everything must be told."""
    a.do(Verb.END_DUPLICATES)  # an ensure ends none
    outcome = a.do(Verb.ENSURE)
    living = [pid for some in workers(a) for pid in some if not dead(pid)]
    if not outcome.done or len(living) != 1 or outcome.pid not in (None, *living):
        tally.not_healed += 1
        tally.notes.append(f"not healed: {outcome.message}; living: {living}")
    a.do(Verb.KILL)
    until = time.monotonic() + SETTLED_S
    while (left := unexplained(a)) and time.monotonic() < until:
        time.sleep(0.2)  # each look reads the whole ledger
    tally.unexplained = left
    tally.duplicate_rounds = len(a.duplicates)
    tally.starts = len(a.lines("lives"))
    answers = [path.read_text().split() for path in a.place.glob("answers.*")]
    tally.callers = sum(map(len, answers))


def unexplained(a: Arena) -> list[str]:
    """Lives without a beginning or an end in the ledger."""
    events = [e for e in a.events() if e.identity]
    born = {e.identity for e in events if e.kind in BORN}
    gone = {e.identity for e in events if e.kind in GONE}
    boot, found = clock.boot_id(), []
    for line in a.lines("lives"):
        pid, ticks, _ = line.split()
        who = Identity(int(pid), int(ticks), boot)
        if who not in born:
            found.append(f"{line}: no start")
        if who not in gone and dead(who.pid):
            found.append(f"{line}: no end")
    return found


if __name__ == "__main__":
    act(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
