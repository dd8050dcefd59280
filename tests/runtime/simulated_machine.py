"""A machine of simulated processes behind the interfaces of `console.system`.

Process table, signals, death notices and shims are simulated; locks, owner records, the guard and
the event log are real.
"""

from __future__ import annotations

import os
import signal
import sys
import time as real_time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulated_time import Time

from console.core.model.processes import Identity, Process
from console.core.model.roles import Owner, Role
from console.core.model.time import Moment
from console.core.records import replace
from console.system import clock
from console.system.box import Box, slot_name
from console.system.guard import shim_launcher
from console.system.locks import lease
from console.system.processes import process_table, procfs
from console.system.processes.procfs import ProcessGone
from console.system.shim import cleanup, program

HZ = 100
TIDY_S = 0.03
"""Seconds that a shim takes from its worker's death to the certificate."""
Life = Generator[float, None, None]
"""The steps of a process; each yields the seconds until the next step."""


@dataclass(eq=False)
class Being:
    """A simulated process."""

    pid: int
    ticks: int
    argv: tuple[str, ...]
    env: dict[str, str]
    ppid: int = 1
    state: str = "S"
    alive: bool = True
    held: Path | None = None
    """The lock whose descriptor the process inherited."""
    missed: bool = False
    """True if the process was stopped when its step was due."""
    asked: bool = False
    """True if a SIGTERM is pending until SIGCONT."""
    mourners: list[Callable[[int], None]] = field(default_factory=list)

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.ticks, clock.boot_id())


class Machine:
    """All simulated processes of the machine."""

    def __init__(self, time: Time) -> None:
        self.time, self._last, self._news = time, 1180, True
        self.beings: dict[int, Being] = {}
        self.lives: dict[str, Callable[[Being], Life]] = {}
        """Script name -> the steps of that program."""
        self.own = self.start("rpa-console")
        """The process that stands for the test's own, which runs the console's code."""

    # --- processes -------------------------------------------------------------------------

    def start(self, *argv: str, env: dict[str, str] | None = None, ppid: int = 1) -> Being:
        """Start a process and the steps of its script."""
        self._last += 17
        pid = self._last
        being = Being(pid, int(self.time.tick() * HZ), argv, env or {}, ppid)
        self.beings[pid] = being
        self._news = self.time.stirred = True
        for name, life in self.lives.items():
            if len(argv) > 1 and Path(argv[1]).name == name:
                self._go_on(being, life(being), 0.2)
        return being

    def _go_on(self, being: Being, life: Life, pause: float) -> None:
        def turn() -> None:
            if not being.alive:
                return
            if being.state == "T":
                being.missed = True
                self.time.after(1.0, turn)
                return
            self._go_on(being, life, next(life))

        self.time.after(pause, turn)

    def signal(self, being: Being, number: int) -> None:
        """Deliver a signal as the kernel does."""
        match number:
            case signal.SIGSTOP:
                being.state = "T"
            case signal.SIGCONT:
                being.state = "S"
                if being.asked:
                    self.die(being, signal.SIGTERM)
            case signal.SIGTERM if being.state == "T":
                being.asked = True
            case signal.SIGTERM | signal.SIGKILL:
                self.die(being, number)

    def die(self, being: Being, status: int) -> None:
        """End a process; `status` is the wait status of `waitpid`."""
        if not being.alive:
            return
        being.alive = False
        del self.beings[being.pid]
        self.time.stirred = True
        for mourner in being.mourners:
            mourner(status)

    def find(self, identity: Identity) -> Being | None:
        being = self.beings.get(identity.pid)
        return being if being is not None and being.identity == identity else None

    def running(self, script: str) -> list[Being]:
        """Return the processes that run a script, oldest first."""
        found = [b for b in self.beings.values() if len(b.argv) > 1 and b.argv[1].endswith(script)]
        return sorted(found, key=lambda one: one.ticks)

    # --- the table -------------------------------------------------------------------------

    def may_have_changed(self) -> bool:
        news, self._news = self._news, False
        return news

    can_scan_incrementally = True
    """Scans of new processes are cheap here."""

    def scan_new_or_changed(self) -> tuple[Process, ...]:
        return self.scan()

    def scan(self, refresh_pids: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        return tuple(self._process(being) for being in self.beings.values())

    def _process(self, being: Being) -> Process:
        now = clock.now()
        age = now.tick - being.ticks / HZ
        started = Moment(now.at - age, now.tick - age, now.boot)
        return Process(being.identity, being.ppid, being.argv, started, being.state)

    # --- shims -----------------------------------------------------------------------------

    def launch(
        self, box: Box, role: Role, slot: int, locks: tuple[int, int], token: int, actor: str
    ) -> shim_launcher.StartResult:
        """Start a shim and its worker, with their locks, owner record and events."""
        held = os.dup(locks[0])  # a shim closes the other lock once its worker has started
        spec = shim_launcher._build_spec(box, role, slot, token, actor)
        name, since = slot_name(role, slot), clock.now()
        shim = self.start(sys.executable, "-I", "-S", str(program.__file__), role.name)
        worker = self.start(*role.command, env=dict(spec["marks"]), ppid=shim.pid)  # type: ignore[call-overload]
        worker.held = shim.held = path = box.paths.lease(name)
        owner = Owner(worker.identity, token, since, shim.identity, actor)
        lease.write_owner(box.paths.owner(name), owner, path)

        def tidy(status: int) -> None:
            dead = SimpleNamespace(
                spec=spec, identity=str(worker.identity), wait_status=status, stderr_offset=0,
                started=(since.at, since.tick), oom_kills_at_start=sys.maxsize,
            )  # fmt: skip
            cleanup.certify_death(dead)  # type: ignore[arg-type]
            os.close(held)
            self.die(shim, 0)

        worker.mourners.append(lambda status: self.time.after(TIDY_S, lambda: tidy(status)))
        self.time.wait(role.settle_s)
        return shim_launcher.StartResult(
            worker.identity, settled=worker.alive, failed=not worker.alive
        )

    # --- replaced interfaces ---------------------------------------------------------------

    @contextmanager
    def behind_the_doors(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Replace the real machine by this one for the console's code until the block ends."""
        exchanged: dict[Any, Any] = {
            process_table.ProcessHandle: type("Handle", (_Handle,), {"machine": self}),
            process_table.wait_until_dead: self._wait_dead,
            process_table.with_details: lambda one, variables: replace(
                one, env=self.beings[one.pid].env, uid=os.geteuid()
            ),
            procfs.read_stat: self._stat_of,
            procfs.identify: lambda pid: b.identity if (b := self.beings.get(pid)) else None,
            procfs.is_alive: lambda identity: self.find(identity) is not None,
            procfs.read_environment: self._environment,
            procfs.read_uid_and_nesting: lambda pid: (os.geteuid(), False),
            procfs.read_usage: self._usage,
            lease.lock_holder_pids: self._holders,
            lease.is_shim: lambda pid: (
                (b := self.beings.get(pid)) and str(program.__file__) in b.argv
            ),
            shim_launcher.launch_shim: self.launch,
            cleanup.read_clocks: lambda: (self.time.wall_time(), self.time.tick()),
            cleanup.count_oom_kills: lambda: 0,
        }
        modules = [one for name, one in sys.modules.items() if name.startswith("console.")]
        for module in modules:
            for name, known in list(vars(module).items()):
                if callable(known) and known in exchanged:
                    patch.setattr(module, name, exchanged[known])
        patch.setattr(real_time, "sleep", self.time.wait)
        patch.setattr(os, "getpid", lambda: self.own.pid)
        with clock.override_clock(self.time):
            yield

    def _stat_of(self, pid: int) -> tuple[str, int, int] | None:
        being = self.beings.get(pid)
        return (being.state, being.ppid, being.ticks) if being else None

    def _environment(self, pid: int, wanted: set[str]) -> dict[str, str]:
        env = self.beings[pid].env if pid in self.beings else {}
        return {key: value for key, value in env.items() if key in wanted}

    def _usage(self, pids: Iterable[int]) -> tuple[float, int]:
        lived = [self.time.tick() - self.beings[p].ticks / HZ for p in pids if p in self.beings]
        return 0.01 * sum(lived), 30_000_000 * len(lived)

    def _holders(self, path: Path) -> tuple[int, ...]:
        return tuple(sorted(being.pid for being in self.beings.values() if being.held == path))

    def _wait_dead(self, handles: Sequence[_Handle], timeout_s: float) -> list[_Handle]:
        ends = self.time.monotonic() + timeout_s
        while (
            living := [handle for handle in handles if not handle.is_dead]
        ) and self.time.monotonic() < ends:
            self.time.wait(0.02)
        return living


class _Handle:
    """A replacement of a pidfd: its descriptor is readable once the process is dead."""

    machine: Machine

    def __init__(self, identity: Identity) -> None:
        being = self.machine.find(identity)
        if being is None:
            raise ProcessGone(f"PID {identity.pid} is gone")
        self.identity, self._being = identity, being
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        being.mourners.append(self._ring)

    def _ring(self, status: int) -> None:
        if self._descriptor >= 0:
            os.eventfd_write(self._descriptor, 1)

    def fileno(self) -> int:
        return self._descriptor

    def send_signal(self, signum: int) -> None:
        if self.is_dead:
            raise ProcessGone(f"PID {self.identity.pid} is gone")
        self.machine.signal(self._being, signum)

    @property
    def is_dead(self) -> bool:
        return not self._being.alive

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
