"""The daemon as PID 1 of a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wait = Callable[..., Any]
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
WORKER = """\
import signal, sys, time
def end(*_):
    time.sleep(0.5)
    open({saved!r}, "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    time.sleep(60)
"""


def test_daemon_as_pid_1_reaps_and_grants_the_grace_period(machine: Any, wait_for: Wait) -> None:
    if os.geteuid() or subprocess.run([*UNSHARE, "true"], check=False).returncode:
        pytest.skip("needs root and unshare")
    machine.write()
    saved = machine.directory / "saved"
    (machine.directory / "rpa_worker.py").write_text(WORKER.format(saved=str(saved)))
    command = [*UNSHARE, sys.executable, "-m", "console", *machine.options, "daemon", "run"]
    with subprocess.Popen(command, env=machine.environment, cwd=machine.home) as container:
        try:
            (init,) = wait_for(lambda: children(container.pid), 30)

            def workers() -> list[int]:
                return [one for one in descendants(init) if b"rpa_worker.py" in argv(one)]

            wait_for((machine.state / "locks" / "monitors.heartbeat").exists, 30)
            inside = ["nsenter", "-t", str(init), "-p", "-m", sys.executable, "-m", "console"]
            command = [*inside, *machine.options, "ensure"]
            subprocess.run(command, env=machine.environment, cwd=machine.home, check=True)
            before: list[int] = []
            for _ in range(2):
                (pid,) = wait_for(lambda: [one for one in workers() if one not in before], 40)
                before.append(pid)
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: [one for one in workers() if one not in before], 40)
            wait_for(lambda: not zombies(init), 40, "the ended shims are reaped")
            os.kill(init, signal.SIGTERM)
            assert container.wait(30) == 0
            assert saved.read_text() == "saved"
        finally:
            container.kill()
    assert machine.lives("died")[-1]["reason"] == "exited with code 0"


def children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *descendants(child))]


def zombies(pid: int) -> list[int]:
    return [one for one in children(pid) if not argv(one)]


def argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
