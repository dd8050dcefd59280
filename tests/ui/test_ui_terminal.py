"""The console in a real terminal: its output, and its exit."""

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

import pyte
import pytest

from console.ui.redraw.throttle import AGE_REDRAW_DELAY_S

ROOT = Path(__file__).parents[2]
SCRIPT = """
import asyncio, os, signal, sys, time
from console.core.model.commands import Outcome
from console.core.model.logs import LogPage
from console.core.records import replace
from console.ui.app import ConsoleApp
from screenshots.generator.fixture_night import NOW, healthy_snapshot
from console.ui.terminal import run
from console.ui.ports import ConsolePorts, LogReader
from screenshots.generator.fixture_trends import trends_until
from screenshots.generator.fixture_story import snapshot_after_death

secret = "local-variable-secret"
begin = time.monotonic()
mode = sys.argv[1]
if mode == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

def clock():
    return NOW.plus(time.monotonic() - begin)

async def feed(publish):
    snapshot = healthy_snapshot()
    if mode == "ages":
        # One age alone will change: the watchdog's heartbeat, from 20s to 30s.
        monitors = tuple(replace(one, last=None, next_run=None) for one in snapshot.monitors)
        dog = replace(snapshot.watchdog, heartbeat=NOW.plus(-27.5))
        pipeline = replace(snapshot.pipeline, generated=NOW.plus(-3700))
        snapshot = replace(snapshot, monitors=monitors, watchdog=dog, pipeline=pipeline)
    if mode == "hostile":
        text = "pwn\\x1b]0;pwn\\x07\\x1b[2J\\u202e\\x9b31m"
        snapshot = replace(snapshot, host=text, box=text, reasons=(text,), notices=(text,))
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
    def toggle_freeze(self):
        token = secret
        raise RuntimeError("as scripted")

async def trends(moment):
    return trends_until(moment or NOW)

async def past(around, way):
    return snapshot_after_death()

app = Crashing(
    ConsolePorts(
        {"all": feed}, submit, LogReader(read_log), clock, load_trends=trends, load_past=past
    )
)
sys.exit(run(app))
"""


class Terminal:
    """A pseudo-terminal that runs the console."""

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
        """Return the output of the next `seconds`, or up to the text `until`."""
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

    def rest(self, seconds: float = 3.0, quiet: float = 0.25) -> bytes:
        """Return the output up to the first pause of `quiet` seconds."""
        end, start = time.monotonic() + seconds, len(self.output)
        while time.monotonic() < end and self.read(quiet, b"\x1b"):
            pass
        return self.output[start:]

    def answer(self) -> bytes:
        """Wait for output to begin; return it up to the first pause."""
        return self.read(2.0, b"\x1b") + self.rest()

    def ready(self) -> None:
        assert b"HEALTHY" in self.read(20, b"LIVE")
        self.rest()

    def left(self, seconds: float) -> float:
        """Wait for the process to end and read its output meanwhile; return the elapsed seconds."""
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
    if number is not signal.SIGINT:
        terminal.read(1.0)  # in mode `stuck`, the event loop is now blocked
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
def test_closed_terminal_ends_the_process(terminal: Terminal) -> None:
    terminal.ready()
    os.close(terminal.slave)
    terminal.slave = os.open(os.devnull, os.O_RDWR)
    terminal.close()
    assert terminal.left(4) < 2
    assert terminal.process.returncode == 128 + signal.SIGHUP


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_crash_exits_1_and_prints_no_local_variables(terminal: Terminal) -> None:
    terminal.ready()
    os.write(terminal.master, b"f")
    assert terminal.left(5) < 3
    terminal.read(0.2)
    assert terminal.process.returncode == 1
    assert b"RuntimeError: as scripted" in terminal.output
    assert b"local-variable-secret" not in terminal.output
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("terminal", ["ages"], indirect=True)
def test_changed_age_writes_less_than_200_bytes(terminal: Terminal) -> None:
    terminal.ready()
    written = terminal.read(3.0 + AGE_REDRAW_DELAY_S)
    assert 0 < len(written) < 200, written


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_moved_focus_redraws_only_borders(terminal: Terminal) -> None:
    terminal.ready()
    os.write(terminal.master, b"\t")
    assert 0 < len(terminal.rest()) < 6000


@pytest.mark.parametrize(
    "terminal", [("plain", {"SSH_CONNECTION": "a 1 b 2", "NO_COLOR": "1"})], indirect=True
)
def test_ssh_disables_the_mouse_and_no_color_disables_colours(terminal: Terminal) -> None:
    terminal.ready()
    assert b"\x1b[?1000h" not in terminal.output
    for colour in (b"38;2;", b"48;2;", b"[38;5"):
        assert colour not in terminal.output


SIZES = [(160, 50), (120, 40), (100, 30), (80, 24), (40, 10)]


def seen(
    terminal: Terminal, size: tuple[int, int], keys: bytes = b"", until: bytes = b""
) -> list[str]:
    """Send `keys` to a terminal of this size; return its rows once it has shown `until`."""
    screen = pyte.Screen(*size)
    shape = struct.pack("HHHH", size[1], size[0], 0, 0)
    known = fcntl.ioctl(terminal.slave, termios.TIOCGWINSZ, bytes(8)) == shape
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, shape)
    terminal.process.send_signal(signal.SIGWINCH)
    pyte.ByteStream(screen).feed(terminal.rest() if known else terminal.answer())
    if keys:
        os.write(terminal.master, keys)
        drawn = terminal.read(10, until) + terminal.rest() if until else terminal.answer()
        pyte.ByteStream(screen).feed(drawn)
    return list(screen.display)


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_session_works_at_every_size(terminal: Terminal) -> None:
    """The session covers verdict, keys, dialogs, the past, repeated resizes and the exit."""
    terminal.ready()
    for size in SIZES:
        rows = seen(terminal, size)
        narrow = size[0] < 60
        assert "robot-7" in rows[0] and "LIVE" in rows[0], size
        assert rows[0 if narrow else 1].startswith(" ● HEALTHY "), size
        assert rows[-1].startswith(" e ensure") and "? help  q leave" in rows[-1], size
        assert all(f"{key} " in "".join(rows) for key in ("1", "2", "3")), size
        assert (" ▁▁▁▁▁▁" in rows[3]) == (size[1] >= 30), size
        rows = seen(terminal, size, b"k", b"Kill worker 40864?")
        assert any("Kill worker 40864?" in row for row in rows), size
        os.write(terminal.master, b"\x1b")
        terminal.rest()
    assert any("PAST" in row for row in seen(terminal, SIZES[3], b",", b"PAST"))
    for width in range(30, 130, 5):
        fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        terminal.process.send_signal(signal.SIGWINCH)
    terminal.rest()  # the output of the repeated resizes
    assert any("PAST" in row for row in seen(terminal, SIZES[1]))
    os.write(terminal.master, b"\x1b")
    assert b"LIVE" in terminal.read(3.0, b"LIVE")
    os.write(terminal.master, b"q")
    assert terminal.left(5) < 3
    terminal.read(0.2)
    assert terminal.process.returncode == 0
    assert b"monitoring goes on: daemon PID 38002" in terminal.output
    assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize("terminal", ["hostile"], indirect=True)
def test_hostile_text_sends_no_control_sequence_to_the_terminal(terminal: Terminal) -> None:
    terminal.ready()
    assert b"pwn\\x1b]0;pwn\\x07" in terminal.output
    own = terminal.output.replace(b"\x1b]22;default\x07", b"")  # Textual's pointer shape
    for foreign in (b"pwn\x1b", b"\x1b]", b"\x07", b"\x9b31m", "\u202e".encode()):
        assert foreign not in own


@pytest.mark.parametrize(
    "terminal",
    [("plain", {"TERM": name, "COLORTERM": ""}) for name in ("linux", "screen")],
    indirect=True,
)
def test_sixteen_colour_terminal_uses_its_own_palette(terminal: Terminal) -> None:
    terminal.ready()
    assert b"38;5;" not in terminal.output and b"38;2;" not in terminal.output
    assert b"\x1b[30;42m" in terminal.output


def resident(process: subprocess.Popen[bytes]) -> int:
    """Return the resident memory of a process in MiB."""
    pages = Path(f"/proc/{process.pid}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") // 2**20


BROKEN = (
    b"\x1b[48;20000000;20000000;1;1t",  # an in-band report of the window size
    b"\x1b[48;0;0;0;0t\x1b[<35;1;1M",
    b"\x1b[1114112u",  # invalid key codes
    b"\x1b[99999999999u",
    b"\x1b[97:1114112;2u",
    b"\x1b[::~",
    b"\x1b[200~" + b"p" * 3_000_000 + b"\x1b[201~",  # a paste
)


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_malformed_input_uses_bounded_memory_and_keeps_keys_working(terminal: Terminal) -> None:
    terminal.ready()
    before = resident(terminal.process)
    for sequence in BROKEN:
        for start in range(0, len(sequence), 1000):
            os.write(terminal.master, sequence[start : start + 1000])
            terminal.read(0)
        terminal.read(0.2)
        terminal.rest()
        os.write(terminal.master, b"k")
        assert b"Kill worker 40864?" in terminal.read(10, b"Kill worker 40864?"), sequence[:20]
        terminal.rest()
        os.write(terminal.master, b"\x1b")
        terminal.rest()
    assert resident(terminal.process) < before + 40
    for size in ((90, 30), (120, 40)):  # the size from the kernel still applies
        rows = seen(terminal, size)
        assert len(rows[0].rstrip()) > size[0] - 20, size


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_huge_terminal_is_drawn_in_bounded_memory(terminal: Terminal) -> None:
    terminal.ready()
    shape = struct.pack("HHHH", 60_000, 60_000, 0, 0)
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, shape)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.read(3.0)
    terminal.rest()
    assert resident(terminal.process) < 400
    assert any("robot-7" in row for row in seen(terminal, SIZES[1]))


def drawn(output: bytes, size: tuple[int, int] = (120, 40)) -> list[str]:
    """Return the rows of an empty terminal after these bytes."""
    screen = pyte.Screen(*size)
    pyte.ByteStream(screen).feed(output.replace(b"\x1b[<u", b""))
    return list(screen.display)


def whole(rows: list[str]) -> bool:
    """Return whether the rows show header, verdict, panes and keys."""
    said = "\n".join(rows)
    return all(word in said for word in ("robot-7", "HEALTHY", "1 Processes", "? help"))


def resized(terminal: Terminal) -> None:
    terminal.ready()
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.answer()


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
@pytest.mark.parametrize("how", ["ctrl+l", "focus", "tstp", "stop"])
def test_refocus_resume_or_ctrl_l_redraws_the_whole_screen(terminal: Terminal, how: str) -> None:
    resized(terminal)
    if how in ("tstp", "stop"):
        terminal.process.send_signal(signal.SIGTSTP if how == "tstp" else signal.SIGSTOP)
        stat = Path(f"/proc/{terminal.process.pid}/stat")
        end = time.monotonic() + 10
        while stat.read_text("ascii").rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end
            terminal.read(0.05)
        terminal.rest()
        terminal.process.send_signal(signal.SIGCONT)
    else:
        os.write(terminal.master, b"\x0c" if how == "ctrl+l" else b"\x1b[O\x1b[I")
    output, end = b"", time.monotonic() + 15
    while not whole(drawn(output)):
        assert time.monotonic() < end, drawn(output)
        output += terminal.read(0.2)
    terminal.rest()
    os.write(terminal.master, b"k")  # the terminal is in raw mode again
    assert b"Kill worker 40864?" in terminal.read(10, b"Kill worker 40864?")


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_ctrl_l_in_a_dialog_redraws_the_whole_screen(terminal: Terminal) -> None:
    resized(terminal)
    os.write(terminal.master, b"k")
    terminal.answer()
    os.write(terminal.master, b"\x0c")
    output, end = b"", time.monotonic() + 15
    while not (whole(drawn(output)) and "Kill worker 40864?" in "\n".join(drawn(output))):
        assert time.monotonic() < end, drawn(output)
        output += terminal.read(0.2)


@pytest.mark.parametrize("terminal", ["plain"], indirect=True)
def test_idle_minute_resends_the_verdict_in_under_12_kb(terminal: Terminal) -> None:
    resized(terminal)
    terminal.rest()
    start = time.monotonic()
    output = terminal.read(65)
    assert time.monotonic() - start > 60
    rows = drawn(output)
    assert "robot-7" in rows[0] and "HEALTHY" in rows[1]
    assert len(output) < 12_000
