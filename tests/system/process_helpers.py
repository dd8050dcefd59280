"""Process helpers that read the kernel directly, not through the code under test."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from console.core.processes.shim_program import is_shim

T = TypeVar("T")


def wait_for(condition: Callable[[], T], timeout: float = 15.0) -> T:
    """Call the condition until its result is true, and return the result."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s")
        time.sleep(0.01)
    return answer


STARTED: list[int] = []
"""PIDs of the test process's children, to be reaped."""


def reap() -> None:
    """Reap the dead children in `STARTED`."""
    for pid in list(STARTED):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        STARTED.remove(pid)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process. Ignore a process that is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def dead(pid: int) -> bool:
    """Return True if a process is gone or a zombie."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return raw[raw.rfind(b")") + 2 :][:1] in b"ZX"


FORK_NO_EXEC = 0x40
"""`PF_FORKNOEXEC` of the kernel's `sched.h`."""


def start_ticks(pid: int) -> int | None:
    """Return the kernel's start time of a process in ticks, or None if it is not alive."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = raw[raw.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def foreign(pid: int) -> bool:
    """Return True if a process belongs to another user, or is gone.

    The user is read from `Uid:` of its status, because its directory in `/proc` belongs to root
    while a process ends.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    uid = next(int(line.split()[2]) for line in lines if line.startswith("Uid:"))
    return uid not in (os.geteuid(), 0)


def about_to_exec(pid: int) -> bool:
    """Return True if a process was forked and has its parent's command line until its exec."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return bool(int(raw[raw.rfind(b")") + 2 :].split()[6]) & FORK_NO_EXEC)


def pids() -> list[int]:
    """Return the PIDs of all living processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and not dead(int(name))]


def words(pid: int) -> list[bytes]:
    """Return the command line of a process, or an empty list if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def holds_open(pid: int, place: Path) -> bool:
    """Return True if a process is a shim and has a file below `place` open."""
    if not is_shim([os.fsdecode(word) for word in words(pid)]):
        return False
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}").startswith(f"{place}/"):
                    return True
    return False
