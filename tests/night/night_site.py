"""The environment of a night: an installed package, a box with its programs, a clock, a service."""

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

from console.demo import environment
from console.demo.reaper import stop_and_remove_box

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
INTERVALS_S = {"worker": 5.0, "canary": 15.0, "queue": 5.0, "watchdog": 5.0, "pipeline": 5.0}
DEADLINE_S = 5.0
"""Time for a canary's result."""
RESTART_DELAY_S = 2.0
"""Delay of the service manager before it starts the daemon again."""
SCRIPT = "night_worker.py"
WORKER = '''"""Appends a line to the start record, then runs the demo box's worker.

The kernel releases the lock when the worker dies. A line with DUPLICATE therefore proves that two
workers lived at one time.
"""

import fcntl, os, time

directory = os.path.dirname(os.path.abspath(__file__))
truth = os.open(os.path.join(directory, "truth"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
try:
    fcntl.flock(truth, fcntl.LOCK_EX | fcntl.LOCK_NB)
    alone = "ok"
except BlockingIOError:
    alone = "DUPLICATE"
with open("/proc/self/stat", "rb") as file:
    ticks = int(file.read().rpartition(b")")[2].split()[19])
now = time.clock_gettime(time.CLOCK_BOOTTIME)
line = f"{os.getpid()} {ticks} {os.environ.get('RPA_CONSOLE_TOKEN', '-')} {now!r} {alone}\\n"
log = os.open(os.path.join(directory, "starts"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(log, line.encode())
os.close(log)

import rpa_worker

rpa_worker.main()
'''


def tick() -> float:
    """Return the seconds since boot. No fault sets this clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Start:
    """One line of the start record that the workers write."""

    pid: int
    ticks: int
    token: str
    at: float
    was_alone: bool


class Site:
    """Directories of a night, and the command line of its installed package."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.original_package = directory / "own" / "console"
        """The version of the package with which the night begins."""
        self.package = directory / "installed" / "console"
        self.box = directory / "box"
        self.state = self.box / "state"
        self.mount = self.box / "mount"
        self.programs = directory / "programs"
        self.script = self.programs / SCRIPT
        self.home = directory / "home"
        self.config = self.box / "config.toml"
        self._clock = directory / "clock"
        self.clock_offset_s = 0.0
        self.can_set_clock = False

    def build(self) -> None:
        """Create the directories and files."""
        self.home.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "console", self.original_package, ignore=ignored)
        self.install("")
        shutil.copytree(
            environment.SCRIPTS_DIR, self.programs, ignore=shutil.ignore_patterns("__pycache__")
        )
        self.script.write_text(WORKER)
        self._configure()
        self.set_clock(0.0)
        self.can_set_clock = self._compile()

    def _configure(self) -> None:
        environment.create_box(self.box, 1)
        (self.box / "outputs").rmdir()
        (self.mount / "outputs").mkdir(parents=True)
        raw = json.dumps(
            environment.build_config(self.box, environment.find_free_port(), sys.executable)
        )
        raw = raw.replace(str(environment.SCRIPTS_DIR / "rpa_worker.py"), str(self.script))
        raw = raw.replace(str(environment.SCRIPTS_DIR), str(self.programs))
        raw = raw.replace(str(self.box / "outputs"), str(self.mount / "outputs"))
        settings: dict[str, Any] = json.loads(raw)
        for role in settings["roles"].values():
            role["match"] = role["command"][1]
            role["settle_s"] = 0.2
            role["restart"] = {
                "backoff_s": 0.5, "backoff_max_s": 2.0, "limit": 1000, "window_s": 60.0,
            }  # fmt: skip
        settings["monitors"] = {name: {"every_s": every} for name, every in INTERVALS_S.items()}
        settings["monitors"]["canary"]["deadline_s"] = DEADLINE_S
        settings["monitors"]["watchdog"]["stale_s"] = 30.0
        settings["alerts"] = {"look_s": 1.0}
        self.config.write_text(tomli_w.dumps(settings))

    # --- the package -----------------------------------------------------------------------

    def install(self, version: str) -> None:
        """Replace the installed package by a version, file by file.

        An empty `version` is the original one. Another version differs in every module.
        """
        shutil.rmtree(self.package, ignore_errors=True)
        shutil.copytree(self.original_package, self.package)
        if version:
            for path in self.package.rglob("*.py"):
                path.write_text(path.read_text("utf-8") + f"# {version}\n", "utf-8")
            (self.package / "__init__.py").write_text(f'__version__ = "{version}"\n')

    def break_package(self) -> None:
        """Replace every module by one that cannot be imported."""
        for path in self.package.rglob("*.py"):
            path.write_text("raise RuntimeError('a broken upgrade')\n")

    # --- the clock -------------------------------------------------------------------------

    def _compile(self) -> bool:
        """Compile the library with the settable clock. Return True if it works."""
        compiler = shutil.which("cc")
        if compiler is None:
            return False
        line = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self.directory / "clock.so")]
        done = subprocess.run([*line, str(HERE / "clock.c")], capture_output=True, check=False)
        return done.returncode == 0 and self._is_clock_settable()

    def _is_clock_settable(self) -> bool:
        """Return True if a process of the night reads the clock that is set."""
        self.can_set_clock = True
        self.set_clock(10_000.0)
        line = [sys.executable, "-c", "import time; time.sleep(0.01); print(time.time())"]
        read = subprocess.run(
            line, env=self.environment, capture_output=True, text=True, check=False
        )
        self.set_clock(0.0)
        return read.returncode == 0 and float(read.stdout) - time.time() > 9_000

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock of all processes of the night ahead by `seconds`."""
        descriptor = os.open(self._clock, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, struct.pack("q", int(seconds * 1e9)), 0)
        os.close(descriptor)
        self.clock_offset_s = seconds

    # --- the command line ------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment with which the service manager starts the daemon."""
        variables = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        if self.can_set_clock:
            variables |= {
                "LD_PRELOAD": str(self.directory / "clock.so"),
                "NIGHT_CLOCK": str(self._clock),
            }
        return variables

    def argv(self, *words: str) -> list[str]:
        """Return the command line of the installed package for the box."""
        options = ["--config", str(self.config), "--state-dir", str(self.state)]
        return [sys.executable, "-P", str(self.package / "__main__.py"), *options, *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Return its output and exit code."""
        return subprocess.run(
            self.argv(*words), env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def start_command(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command whose output is appended to a file."""
        with (self.directory / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(
                self.argv(*words), env=self.environment, cwd=self.home,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def starts(self) -> list[Start]:
        """Return the start record that the workers write."""
        try:
            lines = (self.programs / "starts").read_text().splitlines()
        except FileNotFoundError:
            return []
        parts = [line.split() for line in lines]
        return [Start(int(p), int(t), k, float(at), a == "ok") for p, t, k, at, a in parts]

    def stop_and_remove(self) -> None:
        """End all processes of the box, and remove its directory."""
        stop_and_remove_box(self.box)


@dataclass
class DaemonRun:
    """A run of the daemon."""

    pid: int
    began: float
    ended: float = float("inf")


@dataclass
class Service:
    """Service manager that starts the daemon again after each end, after a delay."""

    site: Site
    daemon_runs: list[DaemonRun] = field(default_factory=list)
    _daemon: subprocess.Popen[bytes] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _may_run: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Service:
        self._may_run.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
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

    def _run(self) -> None:
        while not self._stop.is_set():
            self._may_run.wait()
            if self._stop.is_set():
                return
            began = tick()
            self._daemon = self.site.start_command("daemon", "run")
            daemon_run = DaemonRun(self._daemon.pid, began)
            self.daemon_runs.append(daemon_run)
            self._daemon.wait()
            daemon_run.ended = tick()
            self._stop.wait(RESTART_DELAY_S)

    @property
    def is_running(self) -> bool:
        """Return True if a daemon runs now."""
        return self._daemon is not None and self._daemon.poll() is None

    def kill(self) -> bool:
        """Kill the daemon. Return True if one ran."""
        if not self.is_running or self._daemon is None:
            return False
        self._daemon.kill()
        return True

    def hold(self) -> None:
        """Kill the daemon, wait until none runs, and start none until `release`."""
        self._may_run.clear()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.kill()
            # A daemon whose start had already begun is killed in the next round.
            if (
                not self.is_running
                and self.daemon_runs
                and self.daemon_runs[-1].ended < tick() - RESTART_DELAY_S
            ):
                return
            self._stop.wait(0.05)
        raise AssertionError("the daemon did not end within 30 s")

    def release(self) -> None:
        """Start the daemon again."""
        self._may_run.set()
