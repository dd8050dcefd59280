"""Fixtures that run the command in its own process, with its own home directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import tomli_w

from console.demo.environment import create_box, find_free_port
from console.demo.reaper import (
    BOX_ENV_MARKER,
    hold_box_processes,
    marker_value,
    stop_and_remove_box,
)

# A shell starts a background job with SIGINT ignored, and child processes inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 10.0, what: str = "") -> T:
    """Call the condition until its result is true, and return the result."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.03)
    return answer


class Machine:
    """A home directory, a box directory, and the command line that uses both."""

    def __init__(self, place: Path) -> None:
        self.home = place / "home"
        self.home.mkdir()
        self.directory = place / "box"
        self.config = self.directory / "config.toml"
        self.state = self.directory / "state"
        self.environment = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }
        self._started: list[subprocess.Popen[Any]] = []

    # --- the box ---------------------------------------------------------------------------

    def write(self, **tables: Any) -> None:
        """Write a configuration with one worker that only sleeps."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        script = self.directory / "rpa_worker.py"
        script.write_text("import time\nwhile True:\n    time.sleep(60)\n")
        worker = {
            "match": str(script),
            "command": [sys.executable, "-I", "-S", str(script)],
            "settle_s": 0.1,
            "grace_s": 2,
            "autostart": False,
            "restart": {"backoff_s": 0.2, "backoff_max_s": 0.3},
        }
        worker |= tables.pop("worker", {})
        watchdog = {"match": str(self.directory / "task_watchdog.py")}
        base: dict[str, Any] = {
            "outputs": str(self.directory / "outputs"),
            "queue": {"url": f"http://127.0.0.1:{find_free_port()}"},
            "roles": {"worker": worker, "watchdog": watchdog},
        }
        self.config.write_text(tomli_w.dumps(base | tables))

    def write_rig(self) -> None:
        """Write the configuration of a complete demo box."""
        create_box(self.directory, find_free_port())

    @property
    def options(self) -> list[str]:
        return ["--config", str(self.config), "--state-dir", str(self.state)]

    # --- the command line ------------------------------------------------------------------

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on the box, without a terminal."""
        return self.bare(*self.options, *arguments, **options)

    def bare(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command without the options that name the box."""
        options.setdefault("input", "")
        options["env"] = self.environment | options.pop("env", {})
        return subprocess.run(
            [sys.executable, "-m", "console", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.home,
            **options,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command on the box without waiting for its end."""
        process = subprocess.Popen(
            [sys.executable, "-m", "console", *self.options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.home,
            **options,
        )
        self._started.append(process)
        return process

    def document(self, *arguments: str) -> Any:
        """Return the parsed output of a command run with --json."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def events(self, kind: str | None = None, *arguments: str) -> list[dict[str, Any]]:
        """Return the recorded events, of one kind or all."""
        lines = self.run("events", "--limit", "1000", "--json", *arguments).stdout.splitlines()
        return [one for one in map(json.loads, lines) if kind in (None, one["kind"])]

    def lives(self, kind: str) -> list[dict[str, Any]]:
        """Return the worker's events of one kind."""
        return self.events(kind, "--role", "worker")

    def workers(self) -> list[int]:
        """List the box's worker processes from the process table, as an independent check."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(BOX_ENV_MARKER) == marker_value(self.directory)
                argv = process.cmdline()
                living = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if ours and living and any(Path(word).name == "rpa_worker.py" for word in argv[1:5]):
                found.append(process.pid)
        return found

    def close(self) -> None:
        """End every started process by its PID."""
        for process in self._started:
            process.kill()
            process.communicate(timeout=10)
        found = hold_box_processes(self.directory)
        for held in found:
            held.release()
        if found:
            stop_and_remove_box(self.directory)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine without any configuration."""
    place = Machine(tmp_path)
    yield place
    place.close()


@pytest.fixture
def box(machine: Machine) -> Machine:
    """A machine with a box of one worker. The worker does not run yet."""
    machine.write()
    return machine


@pytest.fixture(name="wait_for")
def the_wait() -> Callable[..., Any]:
    """The bounded wait, as a fixture."""
    return wait_for
