"""The faults of a night and their times: a list that follows from the seed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hung import hung, needs_fuse
from night_observers import StoreReader, kill, running
from night_site import Service, Site, tick

from console.core.model import EventKind

BEGIN_S, QUIET_S, SLOT_S = 5.0, 10.0, 30.0
"""Nothing is injected within these times of the begin and of the end; one episode in each slot."""
DAY_S = 86_400.0
AWAIT_S = 60.0
KILLS = {
    "worker": 9.0, "daemon": 35.0, "queue": 60.0, "watchdog": 60.0, "pipeline": 60.0,
    "ensure": 25.0,
}  # fmt: skip
"""Mean seconds between two kills of each kind, and between two `ensure` of a person."""
SCRIPTS = {
    "queue": "task_queue_server.py",
    "watchdog": "task_watchdog.py",
    "pipeline": "realtime_pipeline.py",
}

Step = tuple[float, Callable[[], None]]
"""Seconds, and a fault that is injected then."""
Episode = Callable[[], list[Step]]


@dataclass
class Act:
    """One fault."""

    kind: str
    at: float
    until: float
    pid: int = 0


@dataclass
class Faults:
    """The injector of a night's faults."""

    site: Site
    service: Service
    reader: StoreReader
    dice: random.Random
    acts: list[Act] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)
    """Kinds of fault that this machine does not allow, and why."""
    _mount: AbstractContextManager[None] | None = None
    _asked: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _version: int = 0

    def plan(self, seconds: float) -> list[Step]:
        """List the faults with their times, in seconds since the begin."""
        planned: list[Step] = []
        ends = seconds - QUIET_S
        for kind, mean_s in KILLS.items():
            at = BEGIN_S + self.dice.expovariate(1 / mean_s)
            while at < ends:
                planned.append((at, self._ensure if kind == "ensure" else self._killer(kind)))
                at += self.dice.expovariate(1 / mean_s)
        at, left = BEGIN_S, list[Episode]()
        while at + SLOT_S <= ends:
            if not left:
                left = self._episodes()
                self.dice.shuffle(left)
            planned += [(at + after, act) for after, act in left.pop()()]
            at += SLOT_S
        return sorted(planned, key=lambda one: one[0])

    def go(self, seconds: float) -> None:
        """Inject all faults, then end those that last."""
        began = time.monotonic()
        for at, act in self.plan(seconds):
            time.sleep(max(0.0, began + at - time.monotonic()))
            act()
        time.sleep(max(0.0, began + seconds - QUIET_S - time.monotonic()))
        self.mend()
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def mend(self) -> None:
        """End the mount, set the clock right, wait for the commands that still run."""
        self._mount_answers()
        self._set_clock(0.0)
        for one in self._asked:
            try:
                one.wait(AWAIT_S)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        self._asked.clear()

    def _tell(self, kind: str, began: float | None = None, pid: int = 0) -> Act:
        now = tick()
        self.acts.append(Act(kind, now if began is None else began, now, pid))
        return self.acts[-1]

    # --- kills -----------------------------------------------------------------------------

    def _killer(self, kind: str) -> Callable[[], None]:
        if kind == "daemon":
            return self._kill_daemon
        program = self.site.script if kind == "worker" else self.site.programs / SCRIPTS[kind]
        return lambda: self._kill(kind, program)

    def _kill(self, kind: str, program: Path) -> None:
        for pid in running(program)[:1]:
            began = tick()
            if kill(pid, program):
                self._tell(f"{kind} killed", began, pid)

    def _kill_daemon(self) -> None:
        if self.dice.random() < 0.5:
            self.reader.let_go()
        if self.service.kill():
            self._tell("daemon killed")

    def _ensure(self) -> None:
        """Run `ensure` as a person would, beside the daemon."""
        self._asked = [one for one in self._asked if one.poll() is None]
        if len(self._asked) < 3:
            self._asked.append(self.site.begin("ensure", "worker"))
            self._tell("`ensure` by a person")

    # --- episodes --------------------------------------------------------------------------

    def _episodes(self) -> list[Episode]:
        """List one episode of each kind: its steps, each with seconds since its begin."""
        jumps = (3 * 3600.0, -900.0, 20 * DAY_S, 0.0)
        found: list[Episode] = [
            self._upgrade_episode, self._removed_episode, self._broken_episode,
            lambda: [(self._soon(), self._move_state)],
            lambda: [(self._soon(), self._delete_state)],
            lambda: [(1.0, self._delete_state_while_down)],
        ]  # fmt: skip
        if self.site.jumps_possible:
            found += [partial(self._clock_episode, to) for to in jumps]
        else:
            self.impossible["clock set"] = "no C compiler, or its library is not preloaded"
        if needs_fuse.args[0]:
            self.impossible["mount hung"] = "needs root and /dev/fuse"
        else:
            found.append(self._mount_episode)
        return found

    def _soon(self) -> float:
        return self.dice.uniform(1.0, SLOT_S / 2)

    def _upgrade_episode(self) -> list[Step]:
        return [(self._soon(), self._upgrade)]

    def _removed_episode(self) -> list[Step]:
        """Plan a removal of the package; in every second case the daemon is killed meanwhile."""
        gone = [(self._soon(), self._kill_daemon)] if self.dice.random() < 0.5 else []
        return [(0.5, self._remove_package), *gone, (SLOT_S * 0.7, self._put_back)]

    def _broken_episode(self) -> list[Step]:
        """Plan an upgrade that cannot be imported, and its roll-back."""
        worker = self._killer("worker")
        return [(0.5, self._break), (2.0, worker), (SLOT_S * 0.6, self._roll_back)]

    def _clock_episode(self, to: float) -> list[Step]:
        return [(self._soon(), lambda: self._set_clock(to))]

    def _mount_episode(self) -> list[Step]:
        worker = self._killer("worker")
        return [(0.5, self._hang), (4.0, worker), (SLOT_S * 0.7, self._mount_answers)]

    def _upgrade(self) -> None:
        self._version += 1
        began = tick()
        self.site.install(f"99.{self._version}")
        self._tell("package upgraded", began)

    def _remove_package(self) -> None:
        self.site.package.rename(self.site.package.with_name("away"))
        self._tell("package removed for a while")

    def _put_back(self) -> None:
        self.site.package.with_name("away").rename(self.site.package)
        self._ends("package removed for a while")

    def _break(self) -> None:
        self.site.break_package()
        self._tell("package upgraded to a broken one, rolled back")

    def _roll_back(self) -> None:
        self.site.install("")
        self._ends("package upgraded to a broken one, rolled back")

    def _ends(self, kind: str) -> None:
        next(act for act in reversed(self.acts) if act.kind == kind).until = tick()

    def _hang(self) -> None:
        try:
            self._mount = hung(self.site.mount)
            self._mount.__enter__()
        except pytest.skip.Exception as error:
            self._mount = None
            self.impossible["mount hung"] = str(error)
        else:
            self._tell("mount hung")

    def _mount_answers(self) -> None:
        if self._mount is not None:
            self._mount.__exit__(None, None, None)
            self._mount = None
            self._ends("mount hung")

    def _set_clock(self, seconds: float) -> None:
        if self.site.clock_s != seconds:
            before = self.site.clock_s
            self.site.set_clock(seconds)
            way = "forward" if seconds > before else "back"
            self._tell(f"clock set {way}")

    # --- the state directory ---------------------------------------------------------------

    def _daemon_is_known(self) -> bool:
        """Return whether the ledger in force names the daemon that runs."""
        store = self.reader.stores[-1] if self.reader.stores else None
        if not self.service.alive or store is None or store.until < tick():
            return False
        reason = f"PID {self.service.lives[-1].pid}"
        events = [*store.events.values()]
        return any(one[1] == EventKind.DAEMON_STARTED and one[7] == reason for one in events)

    def _await_daemon(self) -> None:
        deadline = time.monotonic() + AWAIT_S
        while not self._daemon_is_known():
            if time.monotonic() > deadline:
                raise AssertionError(f"no daemon began within {AWAIT_S} s")
            time.sleep(0.05)

    def _move_state(self) -> None:
        self._await_daemon()
        place = self.site.place / f"moved-{len(self.acts)}"
        with self.reader.while_it_goes("moved", place):
            began = tick()
            self.site.state.rename(place)
        self._tell("state moved away, daemon running", began)

    def _delete_state(self) -> None:
        self._await_daemon()
        with self.reader.while_it_goes("deleted while the daemon ran", None):
            began = tick()
            remove(self.site.state)
        self._tell("state deleted, daemon running", began)

    def _delete_state_while_down(self) -> None:
        self._await_daemon()
        began = tick()
        self.service.hold()
        self._tell("daemon killed", began)
        with self.reader.while_it_goes("deleted while no daemon ran", None):
            began = tick()
            remove(self.site.state)
        self._tell("state deleted, daemon down", began)
        self.service.release()


def remove(directory: Path) -> None:
    """Delete a directory in which other processes may still write, as often as that takes."""
    first = os.stat(directory).st_ino
    for _ in range(1000):
        shutil.rmtree(directory, ignore_errors=True)
        try:
            if os.stat(directory).st_ino != first:
                return
        except FileNotFoundError:
            return
    raise AssertionError(f"{directory}: could not be deleted")
