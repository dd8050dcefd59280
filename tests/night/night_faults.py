"""Injects the faults of a night, at times that follow from the seed."""

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
from hanging_mount import hung, needs_fuse
from night_observers import StoreReader, find_running, kill
from night_site import Service, Site, tick

from console.core.model.events import EventKind

START_MARGIN_S, END_MARGIN_S, EPISODE_SLOT_S = 5.0, 10.0, 30.0
"""Times without faults at the begin and at the end, and the time of one episode."""
DAY_S = 86_400.0
WAIT_TIMEOUT_S = 60.0
MEAN_INTERVALS_S = {
    "worker": 9.0, "daemon": 35.0, "queue": 60.0, "watchdog": 60.0, "pipeline": 60.0,
    "ensure": 25.0,
}  # fmt: skip
"""Mean seconds between two kills of each kind, and between two `ensure` of the operator."""
SCRIPTS = {
    "queue": "task_queue_server.py",
    "watchdog": "task_watchdog.py",
    "pipeline": "realtime_pipeline.py",
}

Step = tuple[float, Callable[[], None]]
"""Seconds since the begin, and the function that injects a fault."""
Episode = Callable[[], list[Step]]


@dataclass
class Fault:
    """A fault that was injected."""

    kind: str
    at: float
    ended_at: float
    pid: int = 0


@dataclass
class FaultInjector:
    """The injector of a night's faults."""

    site: Site
    service: Service
    reader: StoreReader
    rng: random.Random
    faults: list[Fault] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)
    """Kinds of fault that cannot be injected on this machine, with the reason."""
    _mount: AbstractContextManager[None] | None = None
    _ensure_commands: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _version: int = 0

    def plan(self, seconds: float) -> list[Step]:
        """Return the faults with their times, in seconds since the begin."""
        planned: list[Step] = []
        ends = seconds - END_MARGIN_S
        for kind, mean_s in MEAN_INTERVALS_S.items():
            at = START_MARGIN_S + self.rng.expovariate(1 / mean_s)
            while at < ends:
                planned.append((at, self._ensure if kind == "ensure" else self._kill_step(kind)))
                at += self.rng.expovariate(1 / mean_s)
        at, left = START_MARGIN_S, list[Episode]()
        while at + EPISODE_SLOT_S <= ends:
            if not left:
                left = self._episodes()
                self.rng.shuffle(left)
            planned += [(at + after, fault) for after, fault in left.pop()()]
            at += EPISODE_SLOT_S
        return sorted(planned, key=lambda step: step[0])

    def run(self, seconds: float) -> None:
        """Inject all faults, then end the lasting ones."""
        began = time.monotonic()
        for at, fault in self.plan(seconds):
            time.sleep(max(0.0, began + at - time.monotonic()))
            fault()
        time.sleep(max(0.0, began + seconds - END_MARGIN_S - time.monotonic()))
        self.end_lasting_faults()
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def end_lasting_faults(self) -> None:
        """Release the mount, reset the clock, wait for the commands that still run."""
        self._release_mount()
        self._set_clock(0.0)
        for command in self._ensure_commands:
            try:
                command.wait(WAIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                command.kill()
                command.wait()
        self._ensure_commands.clear()

    def _record(self, kind: str, began: float | None = None, pid: int = 0) -> Fault:
        now = tick()
        self.faults.append(Fault(kind, now if began is None else began, now, pid))
        return self.faults[-1]

    # --- kills -----------------------------------------------------------------------------

    def _kill_step(self, kind: str) -> Callable[[], None]:
        if kind == "daemon":
            return self._kill_daemon
        program = self.site.script if kind == "worker" else self.site.programs / SCRIPTS[kind]
        return lambda: self._kill(kind, program)

    def _kill(self, kind: str, program: Path) -> None:
        for pid in find_running(program)[:1]:
            began = tick()
            if kill(pid, program):
                self._record(f"{kind} killed", began, pid)

    def _kill_daemon(self) -> None:
        if self.rng.random() < 0.5:
            self.reader.close()
        if self.service.kill():
            self._record("daemon killed")

    def _ensure(self) -> None:
        """Run `ensure` as an operator would, beside the daemon."""
        self._ensure_commands = [
            command for command in self._ensure_commands if command.poll() is None
        ]
        if len(self._ensure_commands) < 3:
            self._ensure_commands.append(self.site.start_command("ensure", "worker"))
            self._record("`ensure` by an operator")

    # --- episodes --------------------------------------------------------------------------

    def _episodes(self) -> list[Episode]:
        """Return one episode of each kind: a function that returns its steps."""
        jumps = (3 * 3600.0, -900.0, 20 * DAY_S, 0.0)
        episodes: list[Episode] = [
            self._upgrade_episode, self._removed_episode, self._broken_episode,
            lambda: [(self._random_offset(), self._move_state)],
            lambda: [(self._random_offset(), self._delete_state)],
            lambda: [(1.0, self._delete_state_without_daemon)],
        ]  # fmt: skip
        if self.site.can_set_clock:
            episodes += [partial(self._clock_episode, to) for to in jumps]
        else:
            self.impossible["clock set"] = "no C compiler, or its library is not preloaded"
        if needs_fuse.args[0]:
            self.impossible["mount hung"] = "needs root and /dev/fuse"
        else:
            episodes.append(self._mount_episode)
        return episodes

    def _random_offset(self) -> float:
        return self.rng.uniform(1.0, EPISODE_SLOT_S / 2)

    def _upgrade_episode(self) -> list[Step]:
        return [(self._random_offset(), self._upgrade)]

    def _removed_episode(self) -> list[Step]:
        """Return a removal of the package. In every second case the daemon is killed meanwhile."""
        gone = [(self._random_offset(), self._kill_daemon)] if self.rng.random() < 0.5 else []
        return [(0.5, self._remove_package), *gone, (EPISODE_SLOT_S * 0.7, self._restore_package)]

    def _broken_episode(self) -> list[Step]:
        """Return an upgrade that cannot be imported, and its roll-back."""
        worker = self._kill_step("worker")
        return [(0.5, self._break_package), (2.0, worker), (EPISODE_SLOT_S * 0.6, self._roll_back)]

    def _clock_episode(self, to: float) -> list[Step]:
        return [(self._random_offset(), lambda: self._set_clock(to))]

    def _mount_episode(self) -> list[Step]:
        worker = self._kill_step("worker")
        return [(0.5, self._hang_mount), (4.0, worker), (EPISODE_SLOT_S * 0.7, self._release_mount)]

    def _upgrade(self) -> None:
        self._version += 1
        began = tick()
        self.site.install(f"99.{self._version}")
        self._record("package upgraded", began)

    def _remove_package(self) -> None:
        self.site.package.rename(self.site.package.with_name("away"))
        self._record("package removed for a while")

    def _restore_package(self) -> None:
        self.site.package.with_name("away").rename(self.site.package)
        self._record_end("package removed for a while")

    def _break_package(self) -> None:
        self.site.break_package()
        self._record("package upgraded to a broken one, rolled back")

    def _roll_back(self) -> None:
        self.site.install("")
        self._record_end("package upgraded to a broken one, rolled back")

    def _record_end(self, kind: str) -> None:
        next(fault for fault in reversed(self.faults) if fault.kind == kind).ended_at = tick()

    def _hang_mount(self) -> None:
        try:
            self._mount = hung(self.site.mount)
            self._mount.__enter__()
        except pytest.skip.Exception as error:
            self._mount = None
            self.impossible["mount hung"] = str(error)
        else:
            self._record("mount hung")

    def _release_mount(self) -> None:
        if self._mount is not None:
            self._mount.__exit__(None, None, None)
            self._mount = None
            self._record_end("mount hung")

    def _set_clock(self, seconds: float) -> None:
        if self.site.clock_offset_s != seconds:
            before = self.site.clock_offset_s
            self.site.set_clock(seconds)
            way = "forward" if seconds > before else "back"
            self._record(f"clock set {way}")

    # --- the state directory ---------------------------------------------------------------

    def _is_daemon_recorded(self) -> bool:
        """Return True if the current ledger contains the start of the running daemon."""
        store = self.reader.stores[-1] if self.reader.stores else None
        if not self.service.is_running or store is None or store.ended_at < tick():
            return False
        reason = f"PID {self.service.daemon_runs[-1].pid}"
        events = [*store.events.values()]
        return any(event[1] == EventKind.DAEMON_STARTED and event[7] == reason for event in events)

    def _wait_for_daemon(self) -> None:
        deadline = time.monotonic() + WAIT_TIMEOUT_S
        while not self._is_daemon_recorded():
            if time.monotonic() > deadline:
                raise AssertionError(f"no daemon began within {WAIT_TIMEOUT_S} s")
            time.sleep(0.05)

    def _move_state(self) -> None:
        self._wait_for_daemon()
        directory = self.site.directory / f"moved-{len(self.faults)}"
        with self.reader.during_removal("moved", directory):
            began = tick()
            self.site.state.rename(directory)
        self._record("state moved away, daemon running", began)

    def _delete_state(self) -> None:
        self._wait_for_daemon()
        with self.reader.during_removal("deleted while the daemon ran", None):
            began = tick()
            remove(self.site.state)
        self._record("state deleted, daemon running", began)

    def _delete_state_without_daemon(self) -> None:
        self._wait_for_daemon()
        began = tick()
        self.service.hold()
        self._record("daemon killed", began)
        with self.reader.during_removal("deleted while no daemon ran", None):
            began = tick()
            remove(self.site.state)
        self._record("state deleted, daemon down", began)
        self.service.release()


def remove(directory: Path) -> None:
    """Delete a directory in which other processes may still write. Retry until it is gone."""
    first = os.stat(directory).st_ino
    for _ in range(1000):
        shutil.rmtree(directory, ignore_errors=True)
        try:
            if os.stat(directory).st_ino != first:
                return
        except FileNotFoundError:
            return
    raise AssertionError(f"{directory}: could not be deleted")
