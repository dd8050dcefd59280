"""An idle box of real programs, and the console's commands on it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from console.demo.environment import create_box, find_free_port
from console.demo.reaper import BOX_ENV_MARKER, marker_value, stop_and_remove_box

OURS = str(Path(sys.executable).with_name("rpa-console"))
ROLES = ("queue", "worker", "watchdog", "pipeline")
Change = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Box:
    """A box's directory and configuration, and commands on them."""

    directory: Path
    config: Path

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def env(self) -> dict[str, str]:
        """The environment that marks a process as one of this box."""
        return {BOX_ENV_MARKER: marker_value(self.directory)}

    def argv(self, *words: str) -> list[str]:
        """Return a console command line on this box."""
        return [OURS, "--config", str(self.config), "--state-dir", str(self.state), *words]

    def run(self, *words: str) -> float:
        """Run a console command; return its milliseconds. Raises CalledProcessError."""
        return milliseconds(self.argv(*words))

    def ask(self, *words: str) -> Any:
        """Run a console command with `--json`; return its output, decoded."""
        line = self.argv(*words, "--json")
        done = subprocess.run(line, capture_output=True, timeout=60, check=False)
        return json.loads(done.stdout)

    @property
    def daemon(self) -> int:
        """The PID of the monitors' daemon."""
        return int(self.ask("daemon", "status")["pid"])

    @property
    def shims(self) -> list[int]:
        """The PIDs of the shims: each lease's owner file names its own."""
        owners = [json.loads(file.read_text()) for file in self.state.rglob("*owner*")]
        return sorted({int(owner["shim"].split(":")[0]) for owner in owners if owner.get("shim")})

    def pid(self, role: str) -> int:
        """The PID of the role's first instance."""
        found = next(entry for entry in self.ask("status")["roles"] if entry["name"] == role)
        return int(found["instances"][0]["pid"])


def milliseconds(argv: list[str], env: Mapping[str, str] | None = None) -> float:
    """Run a command; return its milliseconds. Raises CalledProcessError."""
    began = time.perf_counter()
    subprocess.run(argv, env=env, capture_output=True, check=True, timeout=120)
    return (time.perf_counter() - began) * 1000


@contextmanager
def empty_box(change: Change | None = None, trickle: bool = False) -> Iterator[Box]:
    """Create a configured box without processes; stop and remove it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="rpa-console-bench-"))
    try:
        config = create_box(directory, find_free_port())
        settings = tomllib.loads(config.read_text())
        if not trickle:
            del settings["roles"]["trickle"]
        config.write_text(tomli_w.dumps(_merged(settings, change or {})))
        yield Box(directory, config)
    finally:
        stop_and_remove_box(directory)


@contextmanager
def quiet_box(change: Change | None = None) -> Iterator[Box]:
    """Create a box, start its programs and daemon, and wait for a healthy verdict."""
    with empty_box(change) as box:
        start(box)
        yield box


def start(box: Box, roles: Sequence[str] = ROLES) -> None:
    """Start the roles and the daemon as an operator does, and wait until the box is healthy."""
    for role in roles:
        box.run("ensure", role)
    box.run("daemon", "start")
    await_verdict(box)


def await_verdict(box: Box, patience_s: float = 40.0) -> None:
    """Wait until the box is healthy. Raises TimeoutError."""
    deadline = time.monotonic() + patience_s
    while (verdict := box.ask("status")["verdict"]) != "healthy":
        if time.monotonic() > deadline:
            raise TimeoutError(f"the quiet box is {verdict}")
        time.sleep(0.5)


def _merged(settings: dict[str, Any], change: Change) -> dict[str, Any]:
    """Apply a change to the settings in place: merge tables, replace values."""
    for key, value in change.items():
        below = settings.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            settings[key] = _merged(below, value)
        else:
            settings[key] = value
    return settings
