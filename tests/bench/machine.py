"""What processes cost, as the kernel counts it; and many that cost nothing."""

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
"""A process that is older than this is no longer suspected of becoming another one."""


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds used so far, by these processes and by those children they have reaped.

    Their own to the nanosecond: `/proc/PID/stat` counts in hundredths, too coarse for a quiet one.
    """
    return sum((read_cpu_time_ns(pid) or 0) / 1e9 + _reaped_cpu_s(pid) for pid in pids)


def _reaped_cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[13]) + int(fields[14])) / TICK if fields else 0.0


def _stat(pid: int) -> list[bytes]:
    """The fields of `/proc/PID/stat` from the state on; empty when the process is gone."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return raw[raw.rindex(b")") + 2 :].split()


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:  # grows while it is walked
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def uss_mb(pids: Iterable[int]) -> float:
    """Memory that nobody else has, in 10^6 bytes."""
    return sum(map(_private_kb, pids)) * 1024 / 1e6


def _private_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))


def processes() -> int:
    """How many processes there are."""
    return sum(name.isdigit() for name in os.listdir("/proc"))


def wait_for(condition: Callable[[], bool], patience_s: float, what: str) -> float:
    """Await a condition; the seconds it took. Raises TimeoutError."""
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
    """So many processes that wait for input: it ends when we do, however we do."""
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
        for pid in started:  # our children, not yet reaped: their PIDs are theirs
            os.kill(pid, signal.SIGTERM)
        for pid in started:
            os.waitpid(pid, 0)
