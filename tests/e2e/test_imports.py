"""Imports are most of a command's start time, so they are counted and some are forbidden."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

NEVER = {
    "aiohttp", "asyncio", "concurrent", "email", "http", "importlib.metadata", "logging",
    "multiprocessing", "platformdirs", "portalocker", "psutil", "rich", "shlex", "shutil",
    "sqlite3", "ssl", "statistics", "textual", "tomli_w", "urllib.request", "zipfile",
}  # fmt: skip
"""Too slow for these commands at any depth. `http.client` alone takes as long as a bare Python."""
NOT_TO_LOOK = {
    "console.runtime.baseline.runs",
    "encodings.utf_8_sig",
    "hashlib",
    "signal",
    "subprocess",
}
LINE = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


def imported(ran: subprocess.CompletedProcess[str]) -> set[str]:
    assert ran.returncode in (0, 1), ran.stderr[-2000:]
    return set(LINE.findall(ran.stderr))


def forbidden(modules: set[str], names: set[str]) -> list[str]:
    return sorted(one for one in modules if any(f"{one}.".startswith(f"{name}.") for name in names))


@pytest.fixture
def watched(box: Any) -> Any:
    """A box whose worker and daemon run."""
    for command in (["ensure"], ["daemon", "start"]):
        ran = box.run(*command)
        assert ran.returncode == 0, ran.stderr
    return box


@pytest.mark.parametrize(
    ("command", "more", "ours", "whole"),
    [
        ("--version", {"msgspec", "apsw", "json", "tomllib", "subprocess"}, 13, 115),
        ("status --json", NOT_TO_LOOK, 110, 246),
        ("ensure", {"subprocess", "console.runtime", "console.core.snapshot.builder"}, 78, 216),
    ],
)
def test_command_imports_stay_within_limits(
    watched: Any, command: str, more: set[str], ours: int, whole: int
) -> None:
    """The limits are the current numbers and a margin. A change that raises one gives the reason.

    `status` asks the queue server itself, which takes `socket` and its imports.
    """
    modules = imported(watched.run(*command.split(), env={"PYTHONPROFILEIMPORTTIME": "1"}))
    assert forbidden(modules, NEVER | more) == []
    assert "console.cli.main" in modules, "nothing was counted"
    own = {one for one in modules if one.partition(".")[0] == "console"}
    assert len(own) <= ours, sorted(own)
    assert len(modules) <= whole, sorted(modules - own)


def test_ensure_that_starts_a_worker_imports_no_forbidden_module(box: Any) -> None:
    ran = box.run("ensure", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert "started" in ran.stdout
    modules = imported(ran)
    assert "subprocess" in modules, "nothing was counted"
    assert forbidden(modules, NEVER) == []


def test_daemon_does_not_load_tls(watched: Any) -> None:
    """TLS takes more than a megabyte, and the queue server is usually on the same machine."""
    seen = json.loads(watched.run("daemon", "status", "--json").stdout)
    deadline = time.monotonic() + 30
    while not watched_queue(watched):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    maps = Path(f"/proc/{seen['pid']}/maps").read_text()
    assert "apsw" in maps, "not the daemon"
    assert "libssl" not in maps and "/_ssl." not in maps


def watched_queue(box: Any) -> bool:
    """Tell whether the daemon has observed the queue."""
    told = json.loads(box.run("status", "--json").stdout)
    return any(one["name"] == "queue" and one["last_run"] for one in told["monitors"])
