"""The console in a terminal over real processes: its screens and its keys."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from pty_terminal import Glass

Wait = Callable[..., Any]
Open = Callable[..., Glass]


@pytest.fixture
def look(machine: Any) -> Iterator[Open]:
    """Open terminals with the program in them."""
    opened: list[Glass] = []

    def one(*arguments: str, size: tuple[int, int] = (120, 40), **environment: str) -> Glass:
        opened.append(Glass(list(arguments), machine.environment | environment, size))
        return opened[-1]

    yield one
    for glass in opened:
        glass.close()


def demo_box(glass: Glass) -> str:
    """Return the directory of the demo box from the demo's first output."""
    glass.wait_for(lambda _: b"demo's box: " in glass.raw)
    return glass.raw.split(b"demo's box: ")[1].split()[0].decode()


def left_of(directory: str) -> list[int]:
    """Return the processes that carry a box's marker or name its directory."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("RPA_CONSOLE_BOX", "")]
        except psutil.Error:
            continue
        if any(directory in word for word in words) and process.pid != os.getpid():
            found.append(process.pid)
    return found


def runs(text: str, pid: int) -> bool:
    """Tell whether the processes pane has a line with this PID and an uptime."""
    return re.search(rf"^.\s+(?:\S\s+)?{pid}\s+\d+[smhd]", text, re.MULTILINE) is not None


def worker_row(text: str) -> str:
    """Return the worker's line in the processes pane."""
    return next((line for line in text.splitlines() if " worker " in line and "/1" in line), "")


def test_demo_kills_and_starts_the_worker_by_key(look: Open, wait_for: Wait) -> None:
    glass = look("demo")
    directory = demo_box(glass)
    glass.wait_for(lambda text: "READY" in worker_row(text), 30)
    glass.press("k")
    glass.wait_for("type worker below")
    glass.press("worker\r")
    glass.wait_for(lambda text: "STOPPED" in worker_row(text))
    glass.press("e")
    glass.wait_for(lambda text: "RUNNING" in worker_row(text) or "READY" in worker_row(text))
    glass.press("q")
    assert glass.leave() == 0
    assert glass.restored()
    wait_for(lambda: not left_of(directory), 15)
    assert not os.path.exists(directory)


SSH = "198.51.100.7 1 198.51.100.8 22"


@pytest.mark.parametrize(
    ("setting", "flags", "line", "taken"),
    [
        ('"auto"', (), "", True),
        ('"auto"', (), SSH, False),
        ("true", (), SSH, True),
        ("true", ("--no-mouse",), "", False),
        ("false", (), "", False),
    ],
)
def test_mouse_setting_and_option_decide_mouse_reporting(
    machine: Any, look: Open, setting: str, flags: tuple[str, ...], line: str, taken: bool
) -> None:
    machine.write(screen={"mouse": json.loads(setting)})
    environment = {"SSH_CONNECTION": line} if line else {}
    glass = look(*machine.options, "--no-daemon", *flags, **environment)
    glass.wait_for("worker")
    assert (b"\x1b[?1000h" in glass.raw) is taken
    glass.press("q")
    assert glass.leave() == 0 and glass.restored()


def test_burst_of_keys_goes_to_the_view_its_first_key_opens(look: Open) -> None:
    glass = look("demo")
    glass.wait_for(lambda text: "READY" in worker_row(text), 30)
    glass.press("/trick")
    glass.wait_for(re.compile(r"1 Processes ─+ 1 of \d+ .*\n trick +\n", re.DOTALL).search)
    assert "Themes" not in glass.text
    glass.press("\x1b")
    glass.wait_for(lambda text: "READY" in worker_row(text))
    glass.press("l/nowhere\r")
    glass.wait_for("Log of worker")
    glass.wait_for("/ nowhere (n N)")


@pytest.mark.parametrize(
    ("arguments", "sight", "typed", "question"),
    [
        (["demo"], "READY", "kworker\r", "type worker below"),
        (["demo", "--fault", "two-workers"], "1 too many", "xy", "y  end them"),
    ],
)
def test_burst_of_keys_does_not_end_a_worker(
    look: Open, arguments: list[str], sight: str, typed: str, question: str
) -> None:
    glass = look(*arguments)
    named = re.compile(r"(\d+) .*rpa_worker")
    text = glass.wait_for(lambda text: sight in worker_row(text) and named.search(text), 30)
    workers = [int(pid) for pid in named.findall(text)]
    glass.press(typed)
    glass.wait_for(question)
    glass.press("\x1b")
    glass.wait_for("nothing was done")
    assert all(psutil.pid_exists(pid) for pid in workers)


def test_killed_demo_leaves_no_process_or_file(look: Open, wait_for: Wait) -> None:
    glass = look("demo")
    directory = demo_box(glass)
    glass.wait_for("LIVE", 30)
    os.kill(glass.process.pid, signal.SIGKILL)
    wait_for(lambda: not left_of(directory), 15)
    wait_for(lambda: not os.path.exists(directory))


def test_second_console_attaches_to_the_daemon_the_first_left(
    box: Any, look: Open, wait_for: Wait
) -> None:
    box.run("ensure")
    (worker,) = box.workers()
    first = look(*box.options)
    first.wait_for(lambda text: runs(text, worker))
    daemon = wait_for(lambda: box.document("daemon", "status")["pid"])
    second = look(*box.options)
    second.wait_for(lambda text: runs(text, worker))
    first.press("q")
    assert first.leave() == 0
    assert first.restored()
    assert b"goes on" in first.raw.rpartition(b"\x1b[?1049l")[2]

    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    second.wait_for(lambda text: not runs(text, worker), 3)
    assert time.monotonic() - began < 2.0
    second.wait_for(lambda text: "RUNNING" in worker_row(text), 10)
    second.press("q")
    assert second.leave() == 0
    assert box.document("daemon", "status")["pid"] == daemon


def test_console_reports_a_killed_daemon_in_two_seconds_and_restarts_it(
    box: Any, look: Open, wait_for: Wait
) -> None:
    box.run("ensure")
    glass = look(*box.options)
    glass.wait_for("● LIVE")
    daemon = wait_for(lambda: box.document("daemon", "status")["pid"])
    glass.settle()
    os.kill(daemon, signal.SIGKILL)
    began = time.monotonic()
    top = glass.wait_for("✖ NOBODY WATCHES · D starts").splitlines()[0]
    assert time.monotonic() - began < 2.0
    assert "LIVE" not in top
    glass.press("D")
    top = glass.wait_for("● LIVE").splitlines()[0]
    assert "NOBODY" not in top
    assert box.document("daemon", "status")["pid"] not in (None, daemon)


def test_history_view_lists_events_since_the_last_look(
    box: Any, look: Open, wait_for: Wait
) -> None:
    box.run("ensure")
    (worker,) = box.workers()
    first = look(*box.options)
    first.wait_for(lambda text: runs(text, worker))
    first.press("h")
    first.wait_for("the last day, since")
    first.press("q")
    first.press("q")
    assert first.leave() == 0
    assert box.run("kill", "worker", "--yes", "--force").returncode == 0
    second = look(*box.options)
    second.wait_for("STOPPED", 20)
    second.press("h")
    told = second.wait_for("What happened since")
    assert "since you last looked" in told
    happened = told.partition("What happened")[2]
    assert f"PID {worker}" in happened and "adopted" not in happened, told
    second.press("q")
    second.press("q")
    assert second.leave() == 0


def test_verdict_is_printed_before_the_console_is_loaded(box: Any, look: Open) -> None:
    box.run("ensure")
    box.run("daemon", "start")
    glass = look(*box.options)
    glass.wait_for("q leave")
    before, alternate, _ = glass.raw.partition(b"\x1b[?1049h")
    assert alternate and before.count(b"\n") == 1
    assert re.match(rb"\d\d:\d\d:\d\d  \[[^]]+\] (HEALTHY|DEGRADED|UNKNOWN|DOWN) ", before)
    glass.press("q")
    assert glass.leave() == 0 and glass.restored()


def test_console_without_a_daemon_runs_the_monitors_itself(
    box: Any, look: Open, wait_for: Wait
) -> None:
    box.run("ensure")
    (worker,) = box.workers()
    glass = look("--no-daemon", *box.options)
    glass.wait_for(lambda text: runs(text, worker))
    assert box.document("daemon", "status")["pid"] == glass.process.pid
    os.kill(worker, signal.SIGKILL)
    # The drawing process runs the monitors, so the test must keep reading the terminal.
    wait_for(lambda: glass.pump() or [one for one in box.workers() if one != worker])
    glass.press("q")
    assert glass.leave() == 0
    assert box.document("daemon", "status")["running"] is False


def test_read_only_console_shows_the_current_state_without_a_daemon(box: Any, look: Open) -> None:
    box.run("ensure")
    (worker,) = box.workers()
    glass = look("--read-only", *box.options)
    glass.wait_for(lambda text: runs(text, worker) and "READ-ONLY" in text)
    top = glass.text.splitlines()[0]
    assert "✖ NOBODY WATCHES" in top and "starts" not in top and "LIVE" not in top
    os.kill(worker, signal.SIGKILL)
    glass.wait_for(lambda text: not runs(text, worker))
    glass.press("q")
    assert glass.leave() == 0
    assert box.document("daemon", "status")["running"] is False


@pytest.mark.parametrize("how", ["SIGHUP", "SIGTERM", "hang-up"])
def test_console_ends_within_two_seconds_of_losing_its_terminal(
    box: Any, look: Open, how: str
) -> None:
    glass = look("--read-only", *box.options)
    glass.wait_for("READ-ONLY")
    glass.settle()
    began = time.monotonic()
    if how == "hang-up":
        glass.hang_up()
    else:
        os.kill(glass.process.pid, getattr(signal, how))
    glass.process.wait(5) if how == "hang-up" else glass.leave(5)
    assert time.monotonic() - began < 2.0
    if how == "SIGTERM":
        assert glass.restored()


def test_hostile_command_line_is_escaped_on_the_terminal(machine: Any, look: Open) -> None:
    box = machine
    box.write(worker={"match": "rpa_worker.py", "match_env": {"LINE": "hostile"}})
    hostile = "\x1b]0;pwn\x07[red][/]\u202e[@click=app.quit]x[/]\x9b2J"
    argv = ["python3", "rpa_worker.py", hostile]
    mark = {"RPA_CONSOLE_BOX": str(box.state), "LINE": "hostile"}
    with subprocess.Popen(argv, executable=sys.executable, env=mark, cwd=box.directory) as worker:
        try:
            glass = look(*box.options)
            glass.wait_for(lambda text: runs(text, worker.pid))
            glass.press("k")
            glass.wait_for("pwn")
            assert "[red]" in glass.text
            glass.press("\x1b")
            glass.wait_for(lambda text: "pwn" not in text)
            glass.press("q")
            assert glass.leave() == 0
            status = box.run("status")
            assert "\x1b" not in status.stdout
        finally:
            worker.kill()
    for secret in (b"\x1b]0;pwn", "\u202e".encode(), "\x9b".encode(), b"\x9b2J"):
        assert secret not in glass.raw


@pytest.mark.parametrize(
    ("fault", "sight"),
    [
        ("worker-crash", "SIGKILL"),
        ("worker-hung", "stopped (SIGSTOP)"),
        ("two-workers", "2 instances where 1 is wanted"),
        ("queue-down", "queue: not running"),
        ("pipeline-half", "half written"),
        ("watchdog-dead", "watchdog: not running"),
    ],
)
def test_demo_fault_is_shown_with_its_cause(look: Open, fault: str, sight: str) -> None:
    glass = look("demo", "--fault", fault)
    demo_box(glass)
    glass.wait_for(sight, 30)
    os.kill(glass.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (100, 30), (160, 50)])
def test_every_terminal_size_shows_verdict_box_and_quit_key(
    box: Any, look: Open, size: tuple[int, int]
) -> None:
    box.run("ensure")
    (worker,) = box.workers()
    glass = look("--read-only", *box.options, size=size)
    verdict = re.compile("HEALTHY|DEGRADED|UNKNOWN|DOWN")
    said = ("NOBODY WATCHES", "q leave")  # a read-only console starts no daemon
    glass.wait_for(lambda text: verdict.search(text) and all(word in text for word in said))
    glass.press("1z")
    glass.wait_for(lambda text: runs(text, worker))
    glass.press("q")
    assert glass.leave() == 0
    assert glass.restored()


@pytest.mark.parametrize(
    "terminal", [{"TERM": "linux"}, {"LANG": "C", "LC_ALL": "C", "TERM": "screen"}]
)
def test_ascii_terminal_receives_only_ascii(box: Any, look: Open, terminal: dict[str, str]) -> None:
    box.run("ensure")
    (worker,) = box.workers()
    glass = look("--read-only", *box.options, **terminal)
    glass.wait_for(lambda text: runs(text, worker) and "q leave" in text)
    glass.press("?")
    glass.wait_for("Esc")
    glass.press("\x1b")
    glass.settle()
    glass.press("q")
    assert glass.leave() == 0
    assert glass.restored()
    assert glass.raw.isascii(), [one for one in glass.raw.split(b"\x1b") if not one.isascii()]
    assert b"\x1b[38;2;" not in glass.raw  # true colours, which the terminal cannot show
