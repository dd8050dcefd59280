"""Terminals, pipes, narrow locales, full disks and interruptions."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest


def test_bare_command_without_a_terminal_names_status(machine: Any) -> None:
    refused = machine.bare()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "rpa-console status" in refused.stderr
    assert list(machine.home.iterdir()) == []


@pytest.mark.parametrize("term", ["dumb", ""])
def test_bare_command_refuses_a_dumb_terminal(machine: Any, term: str) -> None:
    master, slave = pty.openpty()
    process = subprocess.run(
        [sys.executable, "-m", "console"],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        env=machine.environment | {"TERM": term},
        timeout=30,
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert process.returncode == 2
    assert b"cannot be drawn" in process.stderr
    assert b"\x1b" not in process.stderr


def test_closed_pipe_on_stdout_is_not_an_error(box: Any) -> None:
    for command in ("status", "events", "config show", "config schema"):
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(
            [sys.executable, "-m", "console", *box.options, *command.split()],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=box.environment,
            timeout=30,
            check=False,
        )
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (0, b""), command


def test_full_disk_under_stdout_is_reported(box: Any) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "console", *box.options, "status"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=box.environment,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == b"rpa-console: No space left on device\n"


def test_output_escapes_characters_outside_the_encoding(machine: Any) -> None:
    machine.write(worker={"match": "/Ωmega/rpa_worker.py"})
    shown = machine.run("config", "show", env={"PYTHONIOENCODING": "latin-1"})
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "/\\u03a9mega/" in shown.stdout
    status = machine.run("status", "--json", env={"PYTHONIOENCODING": "latin-1"})
    assert json.loads(status.stdout)["schema"] == 1


def test_interrupted_command_exits_with_130(box: Any, wait_for: Callable[..., Any]) -> None:
    box.run("ensure")
    process = box.start("events", "--follow")
    assert "started" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in words


def test_events_follow_prints_every_new_event(box: Any) -> None:
    box.run("ensure")
    process = box.start("events", "--follow", "--json", "--limit", "1")
    json.loads(process.stdout.readline())
    box.run("restart", "--yes")
    kinds: list[str] = []
    while "started" not in kinds:
        kinds.append(json.loads(process.stdout.readline())["kind"])
    assert kinds[0] == "asked"
    assert "died" in kinds
    process.terminate()


def test_exit_waits_for_a_running_thread() -> None:
    script = (
        "import sys, threading\n"
        "from console.cli.main import main\n"
        "def work():\n    threading.main_thread().join(1.0)\n    print('worked')\n"
        "threading.Thread(target=work).start()\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "--version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[1:] == ["worked"]


def test_exit_flushes_buffered_output() -> None:
    """The process exits without tearing down its objects, but flushes its buffers."""
    script = "import sys\nfrom console.cli.main import main\nsys.stdout.write('x' * 5000)\nmain()\n"
    ran = subprocess.run(
        [sys.executable, "-c", script, "nonsense"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "x" * 5000)
