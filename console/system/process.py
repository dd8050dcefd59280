"""The process table, and the door to single processes: identity, signals, usage."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from console.core.model import Identity, Moment, Process
from console.system import clock
from console.system.handle import Handle, open_handles, wait_dead
from console.system.proc import (
    HZ,
    LINUX,
    PROC,
    Gone,
    ProcessError,
    alive,
    environment,
    identify,
    read,
    stat_of,
    usage,
)

__all__ = [
    "LINUX",
    "PROC",
    "Gone",
    "Handle",
    "ProcessError",
    "Table",
    "alive",
    "details",
    "environment",
    "ghost",
    "identify",
    "open_handles",
    "usage",
    "wait_dead",
]

_ARGV_LIMIT = 131_072
YOUNG_S = 10.0
"""A process may still become another program by exec soon after it was started."""
_FULL_S = 30.0
"""And later too, if seldom: so often all are read in full."""


class Table:
    """Looks at all processes, reading in full only what is new, young or asked for again."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, Process]] = {}
        self._full_at = 0.0
        self._youngest = 0.0
        self._last_pid: bytes | None = None

    def stirred(self) -> bool:
        """Whether a process has appeared since the last look, or is young enough to exec.

        Costs one short read: the kernel tells which PID it gave away last. Always true where it
        does not.
        """
        now = clock.tick()
        return (
            self._last_pid is None
            or _last_pid() != self._last_pid
            or now - self._full_at > _FULL_S
            or now - self._youngest < YOUNG_S
        )

    def look(self, again: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        """Every process. `again`: PIDs whose state and parent must be fresh; `full`: all of them.

        Raises ProcessError when the table cannot be read at all.
        """
        now = clock.now()
        if not LINUX:
            from console.system import portable

            return portable.look(now)
        if now.tick - self._full_at > _FULL_S:
            full = True
        if full:
            self._full_at = now.tick
        self._last_pid = _last_pid()  # before the listing: who comes in between is news again
        fresh = set(again)
        known: dict[int, tuple[int, Process]] = {}
        for pid, inode in _list().items():
            was, one = self._known.get(pid, (0, None))
            stale = one is None or was != inode or now.since(one.started) < YOUNG_S
            if full or stale or pid in fresh:
                one = _read_process(pid, now)
            if one is not None:
                known[pid] = (inode, one)
        self._known = known
        self._youngest = max((one.started.tick for _, one in known.values()), default=0.0)
        return tuple(one for _, one in known.values())


def _last_pid() -> bytes | None:
    """The PID, or thread's id, that was given away last; None where nobody tells."""
    try:
        return read("/proc/loadavg", 256).split()[4]
    except (OSError, IndexError):
        return None


def _list() -> dict[int, int]:
    """PID -> inode of its directory, which is another one when the PID was given away again."""
    try:
        with os.scandir(PROC) as entries:
            return {int(one.name): one.inode() for one in entries if one.name.isdigit()}
    except OSError as error:
        raise ProcessError(f"the process table cannot be read: {error.strerror}") from error


def ghost(identity: Identity, started: Moment) -> Process:
    """A process known by its identity alone, as the ledger remembers it."""
    return Process(identity, 1, (), started)


def _read_process(pid: int, now: Moment) -> Process | None:
    stat = stat_of(pid)
    if stat is None:
        return None
    state, ppid, ticks = stat
    try:
        raw = read(f"/proc/{pid}/cmdline", _ARGV_LIMIT)
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    argv = tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0"))
    age = now.tick - ticks / HZ
    started = Moment(now.at - age, now.tick - age, now.boot)
    identity = Identity(pid, ticks, now.boot)
    return Process(identity, ppid, argv if raw else (), started, uid, state)


def details(process: Process, variables: Iterable[str]) -> Process:
    """`process` with its directory, program and the named variables, where readable."""
    wanted = set(variables)
    if not LINUX:
        from console.system import portable

        return portable.details(process, wanted)
    cwd, exe = _link(process.pid, "cwd"), _link(process.pid, "exe")
    return replace(process, cwd=cwd, exe=exe, env=environment(process.pid, wanted))


def _link(pid: int, name: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return None
