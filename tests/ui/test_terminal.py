"""The console in a real terminal: what it writes, and how it leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import asyncio, os, signal, sys, time
from dataclasses import replace
from console.core.model import LogPage, Outcome
from console.ui.app import ConsoleApp, Wiring
from console.ui.scripted import NOW, night
from console.ui.terminal import run
from console.ui.wiring import Logs

secret = "local-variable-secret"
begin = time.monotonic()
mode = sys.argv[1]
if mode == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

def clock():
    return NOW.plus(time.monotonic() - begin)

async def feed(publish):
    snapshot = night()
    if mode == "ages":
        # One age alone will change: the watchdog's heartbeat, from 20s to 30s.
        monitors = tuple(replace(one, last=None, next_run=None) for one in snapshot.monitors)
        dog = replace(snapshot.watchdog, heartbeat=NOW.plus(-27.5))
        pipeline = replace(snapshot.pipeline, generated=NOW.plus(-3700))
        snapshot = replace(snapshot, monitors=monitors, watchdog=dog, pipeline=pipeline)
    while True:
        publish(replace(snapshot, moment=clock()))
        await asyncio.sleep(1)
        if mode == "stuck":
            time.sleep(1000)

async def submit(command):
    return Outcome(True, "")

async def read_log(role, stream, offset):
    return LogPage("")

class Crashing(ConsoleApp):
    def freeze(self):
        token = secret
        raise RuntimeError("as scripted")

app = Crashing(Wiring({"all": feed}, submit, Logs(read_log), clock))
sys.exit(run(app))
"""


class Terminal:
    """A pty with the console in it."""

    def __init__(self, mode: str, **env: str) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, mode],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment | env,
            start_new_session=True,
        )
        self.output = b""

    def read(self, seconds: float, until: bytes = b"") -> bytes:
        """What arrives within `seconds`, or until a text is seen."""
        end, start = time.monotonic() + seconds, len(self.output)
        while (left := end - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:
                    break
            if until and until in self.output[start:]:
                break
        return self.output[start:]

    def ready(self) -> None:
        assert b"HEALTHY" in self.read(20, b"LIVE")
        self.read(0.5)

    def left(self, seconds: float) -> float:
        """How long until the process is gone, while its output is read if it can be."""
        begin = time.monotonic()
        while self.process.poll() is None and time.monotonic() - begin < seconds:
            if self.master >= 0:
                self.read(0.02)
            else:
                time.sleep(0.02)
        return time.monotonic() - begin

    def close(self) -> None:
        os.close(self.master)
        self.master = -1


@pytest.fixture
def terminal(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    mode, *env = request.param if isinstance(request.param, tuple) else (request.param,)
    term = Terminal(mode, **(env[0] if env else {}))
    os.set_inheritable(term.slave, False)
    yield term
    term.process.kill()
    term.process.wait()
    os.close(term.slave)
    if term.master >= 0:
        term.close()


@pytest.mark.parametrize(
    ("terminal", "number"),
    [
        ("plain", signal.SIGTERM),
        ("stuck", signal.SIGTERM),
        ("stuck", signal.SIGHUP),
        ("plain", signal.SIGINT),
    ],
    indirect=["terminal"],
)
def test_signal_restores_the_terminal(terminal: Terminal, number: signal.Signals) -> None:
    terminal.ready()
    terminal.read(1.2)
    assert not termios.tcgetattr(terminal.slave)[3] & termios.ECHO
    start = len(terminal.output)
    terminal.process.send_signal(number)
    assert terminal.left(3) < 2
    terminal.read(0.1)
    assert terminal.process.returncode == 128 + number
    assert termios.tcgetattr(terminal.slave) == terminal.before
    tail = terminal.output[start:]
    for mode in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1003l", b"\x1b[?2004l", b"\x1b[<u"):
        assert mode in tail


@pytest.mark.parametrize("terminal", ["nohup", "stuck"], indirect=True)
def test_gone_terminal_ends_the_process(terminal: Terminal) -> None:
    terminal.ready()
    os.close(terminal.slave)
    terminal.slave = os.open(os.devnull, os.O_RDWR)
    terminal.close()
    assert terminal.left(4) < 2
    assert terminal.process.returncode == 128 + signal.SIGHUP


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_leaving_says_that_monitoring_goes_on(terminal: Terminal) -> None:
    terminal.ready()
    os.write(terminal.master, b"q")
    assert terminal.left(5) < 3
    terminal.read(0.2)
    assert terminal.process.returncode == 0
    assert b"monitoring goes on: daemon PID 38002" in terminal.output
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_crash_exits_1_without_local_variables(terminal: Terminal) -> None:
    terminal.ready()
    os.write(terminal.master, b"f")
    assert terminal.left(5) < 3
    terminal.read(0.2)
    assert terminal.process.returncode == 1
    assert b"RuntimeError: as scripted" in terminal.output
    assert b"local-variable-secret" not in terminal.output
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("terminal", ["ages"], indirect=True)
def test_a_changed_age_costs_less_than_200_bytes(terminal: Terminal) -> None:
    terminal.ready()
    written = terminal.read(3.0)
    assert 0 < len(written) < 200, written


@pytest.mark.parametrize("terminal", [("plain", {"SSH_CONNECTION": "a 1 b 2"})], indirect=True)
def test_no_mouse_over_ssh(terminal: Terminal) -> None:
    terminal.ready()
    assert b"\x1b[?1000h" not in terminal.output


@pytest.mark.parametrize("terminal", [("plain", {"NO_COLOR": "1"})], indirect=True)
def test_no_color_sends_none(terminal: Terminal) -> None:
    terminal.ready()
    assert b"38;2;" not in terminal.output
    assert b"48;2;" not in terminal.output
    assert b"[38;5" not in terminal.output
