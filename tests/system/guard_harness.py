"""A box with real workers, and a check for duplicates that is independent of the code under test.

Each worker tries a lock of the arena when it starts, and appends a line that says whether
another worker held it. The kernel releases that lock as soon as the worker dies, so a line with
`DUPLICATE` proves that two workers lived at one time.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from process_helpers import (
    STARTED,
    dead,
    foreign,
    holds_open,
    kill,
    pids,
    reap,
    start_ticks,
    wait_for,
    words,
)  # fmt: skip

from console.core.model.commands import Command, Outcome, Verb
from console.core.model.events import Event, EventKind
from console.core.model.processes import Instance
from console.core.processes.instances import BOX_VARIABLE
from console.system.box import Box, Observation, open_box
from console.system.config.schema import RoleSettings, Settings
from console.system.guard.guard import Guard
from console.system.processes import process_table

Make = Callable[..., "Arena"]
__all__ = ["STARTED", "Arena", "arena", "dead", "holds_open", "kill", "pids", "wait_for", "words"]
PYTHON = (sys.executable, "-I", "-S")
NAME = "rpa_worker.py"

WORKER = """
import fcntl, os, signal, sys, time
arena, modes = sys.argv[1], sys.argv[2:]
def say(name, text):
    fd = os.open(os.path.join(arena, name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)
if "slow" in modes:
    time.sleep(0.3)
judge = "strangers" if "stranger" in modes else "truth"
truth = os.open(os.path.join(arena, judge), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
try:
    fcntl.flock(truth, fcntl.LOCK_EX | fcntl.LOCK_NB)
    alone = "ok"
except BlockingIOError:
    alone = "DUPLICATE"
if "many" in modes:
    alone = "ok"
with open("/proc/self/stat", "rb") as file:
    ticks = int(file.read().rpartition(b")")[2].split()[19])
say("lives", f"{os.getpid()} {ticks} {judge}")
say("starts", f"{os.getpid()} {os.environ.get('RPA_CONSOLE_TOKEN', '-')} {alone}")
if "deaf" in modes:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "needs" in modes:
    os.environ["A_VARIABLE_THAT_IS_MISSING"]
if "close" in modes:
    os.closerange(3, truth)
    os.closerange(truth + 1, 256)
for mode in modes:
    if mode.startswith("child"):  # keeps every descriptor, as os.system does
        if os.fork() == 0:
            os.close(truth)
            if "session" in mode:
                os.setsid()
            if "deaf" in mode:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            say("children", str(os.getpid()))
            if "fork" not in mode:
                os.execv("/bin/sleep", ["sleep", "600"])
            time.sleep(600)
            os._exit(0)
    if mode.startswith("exit"):
        print("last words", file=sys.stderr, flush=True)
        os._exit(int(mode[4:]))
    if mode.startswith("print"):
        block = b"x" * 99 + b"\\n"
        for _ in range(int(mode[5:]) // 100_000):
            os.write(1, block * 1000)
say("ready", str(os.getpid()))
if "turn" in modes:  # as after setproctitle, or an exec: the same process under another name
    os.set_inheritable(truth, True)
    os.execv("/bin/sleep", ["bot", "600"])
while True:
    time.sleep(600)
"""


class Arena:
    """A box with one role, `worker`, and a record of every process that ran in it."""

    def __init__(self, place: Path, stack: ExitStack, **role: Any) -> None:
        self.place = place
        self.script = place / NAME
        self.script.write_text(WORKER)
        modes = role.pop("modes", "").split()
        role.setdefault("command", [*PYTHON, str(self.script), str(place), *modes])
        role.setdefault("match", str(self.script))
        role.setdefault("settle_s", 0.1)
        role.setdefault("grace_s", 3.0)
        self.turns = "turn" in modes
        self.settings = Settings(roles={"worker": RoleSettings(**role)})
        self.box: Box = stack.enter_context(open_box(self.settings, place / "state"))
        self.guard = Guard(self.box)

    # --- acting ----------------------------------------------------------------------------

    def do(self, verb: Verb, actor: str = "test", **more: Any) -> Outcome:
        """Carry out a command on the worker and return its outcome."""
        return self.guard.carry_out(Command(verb, "worker", actor, **more))

    def ensure(self, **more: Any) -> Outcome:
        """Carry out `ensure`, assert that it succeeds and return its outcome."""
        outcome = self.do(Verb.ENSURE, **more)
        assert outcome.done, outcome.message
        return outcome

    def look(self) -> Observation:
        """Return a new observation of the worker's role."""
        role = self.box.find_role("worker")
        assert role is not None
        return self.box.observe([role], full=True)[0]

    def only(self) -> Instance:
        """Return the role's instance. Fails unless there is exactly one."""
        (instance,) = self.look().instances
        return instance

    def shim(self) -> int:
        """Return the PID of the worker's shim."""
        owner = self.look().worst_lease.owner
        assert owner is not None and owner.shim is not None
        return owner.shim.pid

    def outside(self, *modes: str, env: dict[str, str] | None = None) -> int:
        """Start a worker without the product and return its PID."""
        pid = os.posix_spawn(
            PYTHON[0],
            [*PYTHON, str(self.script), str(self.place), *modes],
            {**os.environ, **(env or {})},
            setsid=True,
        )
        STARTED.append(pid)
        wait_for(lambda: str(pid) in self.lines("ready"))
        return pid

    def shell(self, words: str) -> list[str]:
        """Return a command that runs the worker from a shell, after `words`."""
        return ["/bin/sh", "-c", f"{words}; exec {self.run}"]

    @property
    def run(self) -> str:
        """The worker's command line, quoted for a shell."""
        return shlex.join([*PYTHON, str(self.script), str(self.place)])

    # --- evidence --------------------------------------------------------------------------

    def lines(self, name: str) -> list[str]:
        """Return the lines that the workers have written to one of their files."""
        try:
            return (self.place / name).read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []

    @property
    def duplicates(self) -> list[str]:
        """The log lines of workers that started while another worker lived."""
        return [line for line in self.lines("starts") if line.endswith("DUPLICATE")]

    def living(self) -> list[int]:
        """Return the PIDs of all living workers and their children, without the shims."""
        mark = os.fsencode(str(self.script))
        known = {int(pid) for pid in self.lines("children")} | self.turned()
        return [one for one in pids() if one in known or (mark in words(one) and not foreign(one))]

    def turned(self) -> set[int]:
        """Return the PIDs of the living workers that have changed their command line."""
        lives = (line.split() for line in self.lines("lives") if self.turns)
        return {int(pid) for pid, ticks, _ in lives if start_ticks(int(pid)) == int(ticks)}

    def boxes(self) -> Iterator[Box]:
        """Yield the arena's box and the boxes of its other state directories."""
        yield self.box
        for state in sorted(self.place.glob("state-*")):
            with open_box(self.settings, state) as box:
                yield box

    def events(self, *kinds: EventKind) -> list[Event]:
        """Return the role's events, of the given kinds or of all kinds."""
        return [
            e
            for box in self.boxes()
            for e in box.store.events(role="worker", limit=100_000)
            if not kinds or e.kind in kinds
        ]

    def unexplained(self) -> list[str]:
        """Return the workers with a token that have no start event or, if dead, no death event."""
        recorded = {(e.kind, e.identity.pid) for e in self.events() if e.identity}
        missing = []
        for line in self.lines("starts"):
            pid, token, _ = line.split()
            if token == "-":
                continue
            if (EventKind.STARTED, int(pid)) not in recorded:
                missing.append(f"{line}: no start")
            if int(pid) not in self.living() and (EventKind.DIED, int(pid)) not in recorded:
                missing.append(f"{line}: no death")
        return missing

    def deaths(self) -> list[Event]:
        """Return the death events."""
        return self.events(EventKind.DIED)

    def clear(self) -> None:
        """End every process of this arena by PID."""
        states = [str(path) for path in self.place.glob("state*")]
        for _ in range(100):
            shims = [p for p in pids() if holds_open(p, self.place)]
            boxes = {p: process_table.read_environment(p, {BOX_VARIABLE}) for p in pids()}
            marked = [p for p, box in boxes.items() if box.get(BOX_VARIABLE) in states]
            others = [p for p in STARTED if not dead(p) and foreign(p)]
            rest = {*self.living(), *shims, *marked, *others} - {os.getpid()}
            if not rest:
                break
            for pid in rest:
                kill(pid)
            time.sleep(0.01)
        reap()


@contextmanager
def arena(place: Path, **role: Any) -> Iterator[Arena]:
    """Make an arena in its own directory. All its processes are ended afterwards."""
    place.mkdir(exist_ok=True)
    with ExitStack() as stack:
        made = Arena(place, stack, **role)
        stack.callback(made.clear)
        yield made
