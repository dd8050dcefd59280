"""One process as the kernel tells it: identity, state, environment, usage.

What is Linux only (`/proc`) is behind this door; other systems are not supported yet.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from console.core.model import Identity
from console.system import clock

PROC = Path("/proc")
LINUX = sys.platform.startswith("linux") and PROC.is_dir()
_CHUNK = 8192
_PF_KTHREAD = 0x200000
"""The kernel's flag of its own threads."""
_RAN = 2
"""The kernel's CPUCLOCK_SCHED: by the scheduler's own account, not by ticks."""
HZ = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def unsupported() -> str | None:
    """Why nothing can be started, ended or watched on this system, or None on Linux."""
    if sys.platform.startswith("linux"):
        return None
    return f"{sys.platform} is not supported yet: workers are started and watched on Linux only"


class ProcessError(Exception):
    """A process could not be signalled: gone, replaced by another, or not permitted."""


class Gone(ProcessError):
    """The process that was meant is no more."""


def read(path: str, limit: int = 4096) -> bytes:
    """The beginning of a file of `/proc`: a short read is the whole of it. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = chunk = os.read(descriptor, _CHUNK)
        while len(chunk) == _CHUNK and len(raw) < limit:
            chunk = os.read(descriptor, _CHUNK)
            raw += chunk
        return raw[:limit]
    finally:
        os.close(descriptor)


def stat_of(pid: int) -> tuple[str, int, int, bool] | None:
    """(state, ppid, start ticks, whether it is a thread of the kernel's), or None without one."""
    try:
        raw = read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses and newlines included.
    fields = raw[raw.rfind(b")") + 2 :].split(None, 20)
    if len(fields) <= 19:
        return None
    kernel = bool(int(fields[6]) & _PF_KTHREAD)
    return fields[0].decode(), int(fields[1]), int(fields[19]), kernel


def ran(pid: int) -> int | None:
    """Nanoseconds that a process has run so far, all its threads; None where nobody tells.

    One call without a file, whoever's the process is: the clock that `clock_getcpuclockid(3)`
    names. What has not run has not become another program either.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | _RAN)
    except (OSError, AttributeError):
        return None


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this PID now; None when there is none."""
    stat = stat_of(pid)
    return Identity(pid, stat[2], clock.boot_id()) if stat else None


def alive(identity: Identity) -> bool:
    """Whether this very process exists and is not a zombie."""
    if identity.boot != clock.boot_id():
        return False
    stat = stat_of(identity.pid)
    return stat is not None and stat[2] == identity.ticks and stat[0] not in "ZX"


def standing(pid: int) -> tuple[int | None, bool]:
    """(effective user or None, whether the process is in a PID namespace below ours).

    By `Uid:` and `NSpid:` of `/proc/PID/status`, see proc_pid_status(5): `NSpid` has one number for
    each namespace from that of `/proc` down to the process's own.
    """
    try:
        raw = read(f"/proc/{pid}/status")
    except OSError:
        return None, False
    fields = dict(line.partition(b":\t")[::2] for line in raw.split(b"\n"))
    uids, pids = fields.get(b"Uid", b"").split(), fields.get(b"NSpid", b"").split()
    return int(uids[1]) if len(uids) > 1 else None, len(pids) > 1


def check_namespace() -> None:
    """Raise ProcessError where `/proc` shows another PID namespace than ours.

    There a PID means one process to `/proc` and another one to `kill`.
    """
    try:
        own = os.readlink("/proc/self")
    except OSError as error:
        raise ProcessError(f"/proc/self cannot be read: {error.strerror}") from error
    if own != str(os.getpid()):
        raise ProcessError(
            f"/proc belongs to another PID namespace: it calls this process {own}, the kernel "
            f"{os.getpid()}; mount this namespace's own: mount -t proc proc /proc"
        )


def environment(pid: int, wanted: set[str]) -> dict[str, str]:
    """The wanted variables of a process's environment at its start; empty when unreadable."""
    try:
        raw = read(f"/proc/{pid}/environ", 1_000_000)
    except OSError:
        return {}
    names = {name.encode(): name for name in wanted}
    if not any(name in raw for name in names):  # as in most
        return {}
    entries = (entry.partition(b"=") for entry in raw.split(b"\0"))
    return {
        names[key]: value.decode("utf-8", "surrogateescape")
        for key, separator, value in entries
        if separator and key in names
    }


def usage(pids: Iterable[int]) -> tuple[float, int]:
    """(CPU seconds used so far, resident bytes), summed over the processes that can be read."""
    seconds, resident = 0.0, 0
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    for pid in pids:
        try:
            raw = read(f"/proc/{pid}/stat")
            fields = raw[raw.rfind(b")") + 2 :].split()
            seconds += (int(fields[11]) + int(fields[12])) / HZ
            resident += int(fields[21]) * page
        except (OSError, IndexError, ValueError):
            continue
    return seconds, resident
