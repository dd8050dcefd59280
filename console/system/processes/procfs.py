"""Reads single processes from `/proc`: identity, state, environment, usage.

This module contains the code that is Linux only; other systems are not supported yet.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from console.core.errors import ConsoleError
from console.core.model.processes import Identity
from console.system import clock

PROC_DIR = Path("/proc")
IS_LINUX = sys.platform.startswith("linux") and PROC_DIR.is_dir()
_CHUNK_BYTES = 8192
_PF_KTHREAD = 0x200000
"""Flag of kernel threads in `/proc/PID/stat`."""
_CPUCLOCK_SCHED = 2
"""The kernel's CPUCLOCK_SCHED: CPU time as the scheduler accounts it, not in ticks."""
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def platform_error() -> str | None:
    """Return why this system is not supported, or None on Linux."""
    if sys.platform.startswith("linux"):
        return None
    return f"{sys.platform} is not supported yet: workers are started and watched on Linux only"


class ProcessError(ConsoleError):
    """A failed operation on a process: it is gone, was replaced, or permission is missing."""


class ProcessGone(ProcessError):
    """The process no longer exists, or its PID belongs to another process."""


def read_proc_file(path: str, max_bytes: int = 4096) -> bytes:
    """Return up to `max_bytes` of a `/proc` file. A short read is its end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = chunk = os.read(descriptor, _CHUNK_BYTES)
        while len(chunk) == _CHUNK_BYTES and len(raw) < max_bytes:
            chunk = os.read(descriptor, _CHUNK_BYTES)
            raw += chunk
        return raw[:max_bytes]
    finally:
        os.close(descriptor)


def read_stat(pid: int) -> tuple[str, int, int, bool] | None:
    """Return (state, ppid, start ticks, is kernel thread), or None if there is no such process."""
    try:
        raw = read_proc_file(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name in parentheses may contain any character, including parentheses and newlines.
    fields = raw[raw.rfind(b")") + 2 :].split(None, 20)
    if len(fields) <= 19:
        return None
    is_kernel_thread = bool(int(fields[6]) & _PF_KTHREAD)
    return fields[0].decode(), int(fields[1]), int(fields[19]), is_kernel_thread


def read_cpu_time_ns(pid: int) -> int | None:
    """Return the CPU time of all threads of a process in nanoseconds; None if it cannot be read.

    This is the clock that clock_getcpuclockid(3) names: one system call, no file is opened, and it
    works for every user's processes. A process whose CPU time is unchanged has not called exec.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
    except (OSError, AttributeError):
        return None


def identify(pid: int) -> Identity | None:
    """Return the identity of the process that has this PID now, or None."""
    stat = read_stat(pid)
    return Identity(pid, stat[2], clock.boot_id()) if stat else None


def is_alive(identity: Identity) -> bool:
    """Return True if a process with this identity exists and is not a zombie."""
    if identity.boot != clock.boot_id():
        return False
    stat = read_stat(identity.pid)
    return stat is not None and stat[2] == identity.ticks and stat[0] not in "ZX"


def read_uid_and_nesting(pid: int) -> tuple[int | None, bool]:
    """Return (effective user id, is in a nested PID namespace).

    The user id is None if it cannot be read. The source is `Uid:` and `NSpid:` of
    `/proc/PID/status`, see proc_pid_status(5): `NSpid` has one number for each namespace, from that
    of `/proc` down to the process's own.
    """
    try:
        raw = read_proc_file(f"/proc/{pid}/status")
    except OSError:
        return None, False
    fields = dict(line.partition(b":\t")[::2] for line in raw.split(b"\n"))
    uids, pids = fields.get(b"Uid", b"").split(), fields.get(b"NSpid", b"").split()
    return int(uids[1]) if len(uids) > 1 else None, len(pids) > 1


def check_pid_namespace() -> None:
    """Raise ProcessError if `/proc` shows another PID namespace than this process's own.

    A PID in `/proc` would then mean another process than the same PID passed to kill(2).
    """
    try:
        own_pid = os.readlink("/proc/self")
    except OSError as error:
        raise ProcessError(f"/proc/self cannot be read: {error.strerror}") from error
    if own_pid != str(os.getpid()):
        raise ProcessError(
            f"/proc belongs to another PID namespace: it calls this process {own_pid}, the kernel "
            f"{os.getpid()}; mount this namespace's own: mount -t proc proc /proc"
        )


def read_environment(pid: int, variables: set[str]) -> dict[str, str]:
    """Return the given variables from a process's initial environment; empty if unreadable."""
    try:
        raw = read_proc_file(f"/proc/{pid}/environ", 1_000_000)
    except OSError:
        return {}
    names = {name.encode(): name for name in variables}
    if not any(name in raw for name in names):  # fast path for most processes
        return {}
    entries = (entry.partition(b"=") for entry in raw.split(b"\0"))
    return {
        names[key]: value.decode("utf-8", "surrogateescape")
        for key, separator, value in entries
        if separator and key in names
    }


def read_usage(pids: Iterable[int]) -> tuple[float, int]:
    """Return (CPU seconds used, resident bytes), summed over the processes that can be read."""

    seconds, resident = 0.0, 0
    page_bytes = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    for pid in pids:
        try:
            raw = read_proc_file(f"/proc/{pid}/stat")
            fields = raw[raw.rfind(b")") + 2 :].split()
            seconds += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S
            resident += int(fields[21]) * page_bytes
        except (OSError, IndexError, ValueError):
            continue
    return seconds, resident
