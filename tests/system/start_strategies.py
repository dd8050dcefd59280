"""Ways to keep a worker running: the product, and two unsafe ones that must show duplicates."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from guard_harness import Arena, pids, words
from process_helpers import foreign

from console.core.model.commands import Command, Verb
from console.system.box import open_box
from console.system.guard.guard import Guard

Strategy = Callable[[Arena], str]
"""A function that starts the worker and returns `[exit code, PID, words]` as JSON."""


def by_guard(a: Arena) -> str:
    """Start the worker through the guard, as `rpa-console ensure` does."""
    with open_box(a.settings, a.place / "state") as box:
        command = Command(Verb.ENSURE, "worker", f"caller:{os.getpid()}")
        outcome = Guard(box).carry_out(command)
    return json.dumps([outcome.code, outcome.pid, outcome.message])


STATES = 4


def by_state_directories(a: Arena) -> str:
    """Start the worker through the guard, from one of several state directories."""
    number = os.getpid() % STATES
    state = a.place / (f"state-{number}" if number else "state")
    with open_box(a.settings, state) as box:
        command = Command(Verb.ENSURE, "worker", f"caller:{os.getpid()}")
        outcome = Guard(box).carry_out(command)
    return json.dumps([outcome.code, outcome.pid, outcome.message])


def by_command_line(a: Arena) -> str:
    """Start the worker by the real command, in its own process."""
    done = subprocess.run(
        [
            sys.executable, "-m", "console", "--config", str(a.place / "config.toml"),
            "--state-dir", str(a.place / "state"), "ensure", "worker", "--json",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    answer = json.loads(done.stdout or "{}")
    return json.dumps([done.returncode, answer.get("pid"), done.stderr])


def _spawn(a: Arena) -> int:
    role = a.box.find_role("worker")
    assert role is not None
    command = list(role.command)
    return os.posix_spawn(command[0], command, os.environ, setsid=True)


def seen(a: Arena) -> list[int]:
    mark, turned = os.fsencode(str(a.script)), a.turned()
    return [one for one in pids() if one in turned or (mark in words(one) and not foreign(one))]


def by_looking(a: Arena) -> str:
    """Contrast: look for a worker and start one if there is none, without a lock."""
    found = seen(a)
    return json.dumps([0, found[0] if found else _spawn(a), ""])


def by_mutex(a: Arena) -> str:
    """Contrast: look and start under a mutex with a time-out, as scripts do."""
    descriptor = os.open(a.place / "mutex", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        time.sleep(0.01)  # WaitOne with a time-out; its result is ignored
    found = seen(a)
    answer = json.dumps([0, found[0] if found else _spawn(a), ""])
    os.close(descriptor)
    return answer


def write_config(a: Arena) -> Path:
    """Write the arena's configuration for the real command and return its path."""
    role = a.settings.roles["worker"]
    command = ", ".join(json.dumps(word) for word in role.command)
    text = (
        f"[roles.worker]\nmatch = {json.dumps(role.match)}\ncommand = [{command}]\n"
        f"settle_s = {role.settle_s}\ngrace_s = {role.grace_s}\n"
    )
    path = a.place / "config.toml"
    path.write_text(text)
    return path
