"""The place of a night: an installed package, a box with its real programs, a clock, a service."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from console.rig import box as rig
from console.rig.keeper import end_box

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
EVERY_S = {"worker": 5.0, "canary": 15.0, "queue": 5.0, "watchdog": 5.0, "pipeline": 5.0}
DEADLINE_S = 5.0
"""How long a canary waits for its result."""
RESTART_S = 2.0
"""The service manager's pause before it starts the daemon again."""
SCRIPT = "night_worker.py"
WORKER = '''"""The rig's worker, behind a start record of its own.

The lock is released by the kernel when the worker dies. A line with DUPLICATE therefore proves
that two workers lived at one time.
"""

import fcntl, os, time

place = os.path.dirname(os.path.abspath(__file__))
truth = os.open(os.path.join(place, "truth"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
try:
    fcntl.flock(truth, fcntl.LOCK_EX | fcntl.LOCK_NB)
    alone = "ok"
except BlockingIOError:
    alone = "DUPLICATE"
with open("/proc/self/stat", "rb") as file:
    ticks = int(file.read().rpartition(b")")[2].split()[19])
now = time.clock_gettime(time.CLOCK_BOOTTIME)
line = f"{os.getpid()} {ticks} {os.environ.get('RPA_CONSOLE_TOKEN', '-')} {now!r} {alone}\\n"
log = os.open(os.path.join(place, "starts"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(log, line.encode())
os.close(log)

import rpa_worker

rpa_worker.main()
'''


def tick() -> float:
    """Return the seconds since boot, on the clock that no fault touches."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Start:
    """One line of the workers' own start record."""

    pid: int
    ticks: int
    token: str
    at: float
    alone: bool


class Site:
    """The directories of a night, and the command line of its installed package."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.own = place / "own" / "console"
        """The package as it is when the night begins."""
        self.package = place / "installed" / "console"
        self.box = place / "box"
        self.state = self.box / "state"
        self.mount = self.box / "mount"
        self.programs = place / "programs"
        self.script = self.programs / SCRIPT
        self.home = place / "home"
        self.config = self.box / "config.toml"
        self._clock = place / "clock"
        self.clock_s = 0.0
        self.jumps_possible = False

    def build(self) -> None:
        """Make the directories and files."""
        self.home.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "console", self.own, ignore=ignored)
        self.install("")
        shutil.copytree(rig.SCRIPTS, self.programs, ignore=shutil.ignore_patterns("__pycache__"))
        self.script.write_text(WORKER)
        self._configure()
        self.set_clock(0.0)
        self.jumps_possible = self._compile()

    def _configure(self) -> None:
        rig.write_box(self.box, 1)
        (self.box / "outputs").rmdir()
        (self.mount / "outputs").mkdir(parents=True)
        raw = json.dumps(rig.settings(self.box, rig.free_port(), sys.executable))
        raw = raw.replace(str(rig.SCRIPTS / "rpa_worker.py"), str(self.script))
        raw = raw.replace(str(rig.SCRIPTS), str(self.programs))
        raw = raw.replace(str(self.box / "outputs"), str(self.mount / "outputs"))
        settings: dict[str, Any] = json.loads(raw)
        for role in settings["roles"].values():
            role["match"] = role["command"][1]
            role["settle_s"] = 0.2
            role["restart"] = {
                "backoff_s": 0.5, "backoff_max_s": 2.0, "limit": 1000, "window_s": 60.0,
            }  # fmt: skip
        settings["monitors"] = {name: {"every_s": every} for name, every in EVERY_S.items()}
        settings["monitors"]["canary"]["deadline_s"] = DEADLINE_S
        settings["monitors"]["watchdog"]["stale_s"] = 30.0
        settings["alerts"] = {"look_s": 1.0}
        self.config.write_text(tomli_w.dumps(settings))

    # --- the package -----------------------------------------------------------------------

    def install(self, version: str) -> None:
        """Put a version of the package in place of the one that is there, file by file.

        Empty: the version of the begin. Another version differs in every module.
        """
        shutil.rmtree(self.package, ignore_errors=True)
        shutil.copytree(self.own, self.package)
        if version:
            for path in self.package.rglob("*.py"):
                path.write_text(path.read_text("utf-8") + f"# {version}\n", "utf-8")
            (self.package / "__init__.py").write_text(f'__version__ = "{version}"\n')

    def break_package(self) -> None:
        """Put a version in place that cannot be imported."""
        for path in self.package.rglob("*.py"):
            path.write_text("raise RuntimeError('a broken upgrade')\n")

    # --- the clock -------------------------------------------------------------------------

    def _compile(self) -> bool:
        """Compile the clock that can be set; whether the machine has a compiler for it."""
        compiler = shutil.which("cc")
        if compiler is None:
            return False
        line = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self.place / "clock.so")]
        done = subprocess.run([*line, str(HERE / "clock.c")], capture_output=True, check=False)
        return done.returncode == 0 and self._clock_moves()

    def _clock_moves(self) -> bool:
        """Return whether a process of the site really reads the clock that is set."""
        self.jumps_possible = True
        self.set_clock(10_000.0)
        line = [sys.executable, "-c", "import time; time.sleep(0.01); print(time.time())"]
        read = subprocess.run(
            line, env=self.environment, capture_output=True, text=True, check=False
        )
        self.set_clock(0.0)
        return read.returncode == 0 and float(read.stdout) - time.time() > 9_000

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock of all processes of the night so far ahead of the real one."""
        descriptor = os.open(self._clock, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, struct.pack("q", int(seconds * 1e9)), 0)
        os.close(descriptor)
        self.clock_s = seconds

    # --- the command line ------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that the service manager gives the daemon."""
        found = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        if self.jumps_possible:
            found |= {"LD_PRELOAD": str(self.place / "clock.so"), "NIGHT_CLOCK": str(self._clock)}
        return found

    def argv(self, *words: str) -> list[str]:
        """Return the installed command on the box."""
        options = ["--config", str(self.config), "--state-dir", str(self.state)]
        return [sys.executable, "-P", str(self.package / "__main__.py"), *options, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and keep its output."""
        return subprocess.run(
            self.argv(*words), env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command; its output goes to a file."""
        with (self.place / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(
                self.argv(*words), env=self.environment, cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def starts(self) -> list[Start]:
        """Read the workers' own start record."""
        try:
            lines = (self.programs / "starts").read_text().splitlines()
        except FileNotFoundError:
            return []
        parts = [line.split() for line in lines]
        return [Start(int(p), int(t), k, float(at), a == "ok") for p, t, k, at, a in parts]

    def clear(self) -> None:
        """End every process of the box, and remove its directory."""
        end_box(self.box)


@dataclass
class Life:
    """One run of the daemon."""

    pid: int
    began: float
    ended: float = float("inf")


@dataclass
class Service:
    """The service manager. It starts the daemon again after each end, after a pause."""

    site: Site
    lives: list[Life] = field(default_factory=list)
    _daemon: subprocess.Popen[bytes] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _may_run: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Service:
        self._may_run.set()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._may_run.set()
        if self._daemon is not None:
            self._daemon.terminate()
        assert self._thread is not None
        self._thread.join(30)
        if self._thread.is_alive() and self._daemon is not None:
            self._daemon.kill()
            self._thread.join(30)

    def _go(self) -> None:
        while not self._stop.is_set():
            self._may_run.wait()
            if self._stop.is_set():
                return
            began = tick()
            self._daemon = self.site.begin("daemon", "run")
            life = Life(self._daemon.pid, began)
            self.lives.append(life)
            self._daemon.wait()
            life.ended = tick()
            self._stop.wait(RESTART_S)

    @property
    def alive(self) -> bool:
        """Return whether a daemon runs at this moment."""
        return self._daemon is not None and self._daemon.poll() is None

    def kill(self) -> bool:
        """Kill the daemon; return whether there was one."""
        if not self.alive or self._daemon is None:
            return False
        self._daemon.kill()
        return True

    def hold(self) -> None:
        """Kill the daemon, start none until `release`, and wait until none runs."""
        self._may_run.clear()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.kill()
            # A start that had passed the gate already is killed in the next turn.
            if not self.alive and self.lives and self.lives[-1].ended < tick() - RESTART_S:
                return
            self._stop.wait(0.05)
        raise AssertionError("the daemon did not end within 30 s")

    def release(self) -> None:
        """Start it again."""
        self._may_run.set()
