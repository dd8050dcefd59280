"""Turns: real locks, real processes; the places are files of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from beings import wait_for

from console.system import turn
from console.system.turn import Turn

HOLDER = """
import sys
from console.system import turn
turn.where, turn.PATIENCE_S = lambda: sys.argv[1:], 60.0
mine = turn.Turn()
print("loads", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two places."""
    files = [str(tmp_path / name) for name in ("one.py", "two.py")]
    for file in files:
        Path(file).touch()
    monkeypatch.setattr(turn, "where", lambda: files)
    return files


@pytest.fixture
def loading(places: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that load, and have both places."""
    holders = []
    try:
        for _ in places:
            holders.append(start(places))
            assert holders[-1].stdout and holders[-1].stdout.readline() == "loads\n"
        yield holders
    finally:
        for one in holders:
            one.kill()
            one.communicate()


def start(places: list[str]) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", HOLDER, *places]
    return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def held(path: str, pid: int | None = None) -> bool:
    """Whether a process has a place open: this very one, if none is named."""
    return path in {one.path for one in psutil.Process(pid).open_files()}


def test_each_has_a_place_of_its_own_until_it_leaves_it(places: list[str]) -> None:
    first, second = Turn(), Turn()
    assert all(map(held, places))
    first.leave()
    first.leave()
    assert sum(map(held, places)) == 1
    again = Turn()
    assert all(map(held, places))
    second.leave()
    again.leave()
    assert not any(map(held, places))


def test_who_finds_no_place_waits_until_one_is_left(
    loading: list[subprocess.Popen[str]], places: list[str]
) -> None:
    waiting = start(places)
    try:
        wait_for(lambda: in_line(waiting.pid))
        for one in loading:
            one.kill()
        assert waiting.stdout and waiting.stdout.readline() == "loads\n"
        assert any(held(path, waiting.pid) for path in places), "it went on without a turn"
    finally:
        waiting.kill()
        waiting.communicate()


def in_line(pid: int) -> bool:
    """Whether a process stands in the line for a lock, as the kernel shows it."""
    return any(
        "->" in line and line.split()[5] == str(pid)
        for line in Path("/proc/locks").read_text().splitlines()
    )


def test_a_place_whose_holder_is_stopped_is_not_waited_for_long(
    loading: list[subprocess.Popen[str]], places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in loading:
        one.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(turn, "PATIENCE_S", 0.2)
    before, began = signal.getsignal(signal.SIGALRM), time.monotonic()
    mine = Turn()
    assert time.monotonic() - began >= 0.2
    assert not any(map(held, places)) and mine.came <= began + 0.1
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("files", [[], ["/nowhere/at/all.py"]], ids=["none", "unreadable"])
def test_without_places_all_load_at_once(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "where", lambda: files)
    Turn().leave()


def test_there_is_a_place_for_each_processor_and_one_more() -> None:
    places = turn.where()
    assert len(places) == len(os.sched_getaffinity(0)) + 1 == len(set(places))
    assert all(os.path.isfile(one) for one in places)
