"""Who has loaded lets others load, however long it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from glass import Glass
from served import serving

from console.system import turn

ROOT = Path(__file__).resolve().parents[2]


def places(pid: int) -> set[str]:
    """The places that a process still has."""
    return {one.path for one in psutil.Process(pid).open_files()} & set(turn.where())


def test_nobody_who_stays_keeps_a_place(
    box: Any, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    assert box.run("daemon", "start").returncode == 0
    daemon = json.loads(box.run("daemon", "status", "--json").stdout)["pid"]
    wait_for(lambda: not places(daemon), what="it has only begun")
    follower = box.start("events", "--follow")
    assert follower.stdout.readline()
    assert places(follower.pid) == set()
    demo = box.start("demo", "--headless")
    assert demo.stderr.readline()
    assert places(demo.pid) == set()
    demo.terminate()
    demo.wait(30)
    with serving(tmp_path / "served") as server:
        assert places(server.process.pid) == set()


def test_the_console_keeps_none(box: Any) -> None:
    glass = Glass(["--no-daemon", *box.options], box.environment)
    try:
        glass.wait_for("worker")
        assert places(glass.process.pid) == set()
    finally:
        glass.close()


def test_who_loads_has_one_and_can_be_interrupted(tmp_path: Path) -> None:
    """Seen amid what it loads: a `click` of our own."""
    (tmp_path / "click.py").write_text("print('loads', flush=True)\ninput()\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-m", "console", "--version"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, env=environment, text=True, **pipes) as loading:
        try:
            assert loading.stdout and loading.stdout.readline() == "loads\n"
            assert len(places(loading.pid)) == 1
            loading.send_signal(signal.SIGINT)
            _, words = loading.communicate(timeout=10)
            assert (loading.returncode, words) == (130, "")
        finally:
            loading.kill()
