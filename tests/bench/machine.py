"""Resource usage of processes as the kernel counts it, and idle processes in bulk."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from console.system.processes.procfs import read_cpu_time_ns

TICK = os.sysconf("SC_CLK_TCK")
YOUNG_S = 11.0
"""Age in seconds from which the process table no longer expects a process to exec."""


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds of these processes and of the children they have reaped.

    The processes' own time is in nanoseconds: the hundredths of `/proc/PID/stat` are too coarse
    for an idle process.
    """
    return sum((read_cpu_time_ns(pid) or 0) / 1e9 + _reaped_cpu_s(pid) for pid in pids)


def _reaped_cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / TICK if fields else 0.0


def _stat(pid: int) -> list[bytes]:
    """Return the fields of `/proc/PID/stat` from the state on; empty for a dead process."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return raw[raw.rindex(b")") + 2 :].split()


def tree(pid: int) -> list[int]:
    """Return the PIDs of a process and all its descendants."""
    found = [pid]
    for parent in found:  # grows during the iteration
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def uss_mb(pids: Iterable[int]) -> float:
    """Return the private memory (USS) of processes, in units of 10^6 bytes."""
    return sum(map(_private_kb, pids)) * 1024 / 1e6


def _private_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def descriptors(pid: int) -> int:
    """Return the number of a process's open file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """Return the number of a process's threads."""
    return len(os.listdir(f"/proc/{pid}/task"))


def processes() -> int:
    """Return the number of processes on the machine."""
    return sum(name.isdigit() for name in os.listdir("/proc"))


def wait_for(condition: Callable[[], bool], patience_s: float, what: str) -> float:
    """Wait for a condition; return the seconds it took. Raises TimeoutError."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            raise TimeoutError(f"not within {patience_s:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


@contextmanager
def sleepers(
    count: int, argv: tuple[str, ...] = ("cat",), env: dict[str, str] | None = None
) -> Iterator[None]:
    """Run `count` processes that read from a pipe.

    The pipe closes when this process ends, for any reason, and ends the processes.
    """
    reading, writing = os.pipe()
    silence = os.open(os.devnull, os.O_WRONLY)
    started: list[int] = []
    actions = [
        (os.POSIX_SPAWN_DUP2, reading, 0),
        (os.POSIX_SPAWN_DUP2, silence, 1),
        (os.POSIX_SPAWN_DUP2, silence, 2),
    ]
    try:
        for _ in range(count):
            spawned = os.posix_spawnp(argv[0], argv, env or os.environ, file_actions=actions)
            started.append(spawned)
        yield
    finally:
        os.close(writing)
        os.close(reading)
        os.close(silence)
        for pid in started:  # children not yet reaped: no PID is reused
            os.kill(pid, signal.SIGTERM)
        for pid in started:
            os.waitpid(pid, 0)
