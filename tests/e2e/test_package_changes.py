"""After its package is removed or replaced, the daemon still restarts workers and reports it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Wait = Callable[..., Any]


@pytest.fixture
def package(machine: Any, tmp_path: Path, wait_for: Wait) -> Path:
    """A separate installation whose daemon and worker run."""
    place = tmp_path / "installed"
    shutil.copytree(ROOT / "console", place / "console", ignore=shutil.ignore_patterns("*.pyc"))
    machine.environment["PYTHONPATH"] = str(place)
    machine.write()
    for command in (["daemon", "start"], ["ensure"]):
        ran = machine.run(*command)
        assert ran.returncode == 0, ran.stderr
    machine.environment["PYTHONPATH"] = str(ROOT)  # later commands use another one
    wait_for(lambda: machine.document("daemon", "status")["version"], 60, "all is loaded")
    return place / "console"


def repaired(machine: Any, wait_for: Wait) -> None:
    """Kill the worker twice, and check the restarts. The daemon starts the second worker's shim."""
    before: list[int] = []
    for _ in range(2):
        (pid,) = wait_for(lambda: [one for one in machine.workers() if one not in before], 40)
        before.append(pid)
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: [one for one in machine.workers() if one not in before], 40)
    wait_for(lambda: len(machine.lives("died")) == 2)
    assert [one["reason"] for one in machine.lives("died")] == ["ended by SIGKILL"] * 2


def test_daemon_restarts_workers_after_its_package_is_removed(
    machine: Any, package: Path, wait_for: Wait
) -> None:
    package.rename(package.with_name("gone"))
    repaired(machine, wait_for)
    wait_for(lambda: "it is gone" in machine.run("status").stdout, 90)
    told = machine.document("daemon", "status")
    assert told["version"] and "has changed since the daemon" in told["troubles"][0]
    assert machine.document("status")["daemon"]["version"] == told["version"]


def test_daemon_restarts_workers_after_its_package_is_replaced(
    machine: Any, package: Path, wait_for: Wait
) -> None:
    for path in package.rglob("*.py"):
        path.write_text("raise RuntimeError('another version')\n")
    (package / "__init__.py").write_text('__version__ = "99.0"\n')
    repaired(machine, wait_for)
    wait_for(lambda: "it is now version 99.0" in machine.run("status").stdout, 90)
