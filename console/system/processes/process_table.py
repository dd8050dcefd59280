"""The process table, and the door to single processes: identity, signals, usage."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable

from console.core.frozen import frozen, replace
from console.core.model import Identity, Moment, Process
from console.system import clock
from console.system.processes.pidfd import Handle, open_handles, wait_dead
from console.system.processes.procfs import (
    HZ,
    LINUX,
    PROC,
    Gone,
    ProcessError,
    alive,
    check_namespace,
    environment,
    identify,
    ran,
    read,
    standing,
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
    "standing",
    "usage",
    "wait_dead",
]

_ARGV_LIMIT = 131_072
YOUNG_S = 10.0
"""A process may still become another program by exec soon after it was started."""
_FULL_S = 30.0
"""And later too, if seldom: so often the command lines of all that ran since are compared."""
_MANY = 1_000
"""More PIDs than this given away since the last look: listing all is cheaper than asking each."""


@frozen
class _Seen:
    """A process as it was read, in the directory of this inode, after it had run for so long."""

    inode: int
    ran: int | None
    process: Process


class Table:
    """Looks at all processes, reading in full only what is new, young or asked for again."""

    def __init__(self) -> None:
        self._known: dict[int, _Seen] = {}
        self._full_at = 0.0
        self._last_pid: int | None = None
        self._young: dict[int, _Seen] = {}
        """Those that may still become another program."""
        self._awaited: set[int] = set()
        """PIDs that were given away and had not appeared yet when they were looked for."""
        self._untold: set[int] = set()
        """PIDs that a look has found new or changed, and `newcomers` has not told yet."""
        self._guard = threading.Lock()

    def stirred(self) -> bool:
        """Whether a process has appeared since the last look, or is young enough to exec.

        Costs one short read: the kernel tells which PID it gave away last. Always true where it
        does not.
        """
        return bool(
            self._last_pid is None
            or self._young
            or self._awaited
            or self._untold
            or clock.tick() - self._full_at > _FULL_S
            or _last_pid() != self._last_pid
        )

    @property
    def brief(self) -> bool:
        """Whether `newcomers` would look at those only that came since the last look."""
        return self._given(clock.tick()) is not None

    def newcomers(self) -> tuple[Process, ...]:
        """Those that may have appeared or become another program since the last look.

        Costs what the newcomers cost, however many processes there are: only the PIDs that were
        given away since then are looked at. Raises ProcessError.
        """
        now = clock.now()
        with self._guard:
            if (given := self._given(now.tick)) is not None:
                return self._newcomers(now, given)
            seen = self._look(now, (), False)
            self._untold = set()
        return seen

    def _given(self, tick: float) -> range | None:
        """The PIDs given away since the last look; None where all processes must be looked at."""
        before, last = self._last_pid, _last_pid()
        recent = tick - self._full_at <= _FULL_S
        if recent and before is not None and last is not None and 0 <= last - before <= _MANY:
            return range(before + 1, last + 1)
        return None

    def _newcomers(self, now: Moment, given: range) -> tuple[Process, ...]:
        new = {*filter(_is_process, {*given, *self._awaited})}
        looks = [_see(pid, 0, now) for pid in new]
        looks += [_again(seen, now) for pid, seen in self._young.items() if pid not in new]
        found = {pid: self._known[pid] for pid in self._untold if pid in self._known}
        found |= {seen.process.pid: seen for seen in looks if seen is not None}
        self._last_pid, self._young = given.stop - 1, _young(found, now)
        self._awaited, self._untold = {*given} - found.keys(), set()
        return tuple(seen.process for seen in found.values())

    def look(self, again: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        """Every process. `again`: PIDs whose state and parent must be fresh; `full`: all of them.

        Raises ProcessError when the table cannot be read at all.
        """
        now = clock.now()
        with self._guard:
            return self._look(now, again, full)

    def _look(self, now: Moment, again: Iterable[int], full: bool) -> tuple[Process, ...]:
        check_namespace()
        check = now.tick - self._full_at > _FULL_S
        if full or check:
            self._full_at = now.tick
        self._last_pid = _last_pid()  # before the listing: who comes in between is news again
        fresh = {*again, *self._young}
        known: dict[int, _Seen] = {}
        for pid, inode in _list().items():
            was = self._known.get(pid)
            if was is None or was.inode != inode:
                was, seen = None, _see(pid, inode, now)
            elif full or pid in fresh:
                seen = _see(pid, inode, now)
            else:
                seen = _again(was, now) if check else was
            if seen is None:
                continue
            known[pid] = seen
            if was is None or was.process.argv != seen.process.argv:
                self._untold.add(pid)
        self._known = known
        self._young, self._awaited = _young(known, now), set()
        return tuple(seen.process for seen in known.values())


def _young(known: dict[int, _Seen], now: Moment) -> dict[int, _Seen]:
    """Those that may still become another program."""
    return {
        pid: seen for pid, seen in known.items() if now.tick - seen.process.started.tick < YOUNG_S
    }


def _again(seen: _Seen, now: Moment) -> _Seen | None:
    """The same process now: read anew if it has become another program, None without it."""
    pid = seen.process.pid
    so_far = ran(pid)  # before the command line: what it runs for later is news again
    if so_far is not None and so_far == seen.ran:
        return seen
    return _see(pid, seen.inode, now) if _other(seen.process) else replace(seen, ran=so_far)


def _other(one: Process) -> bool:
    """Whether a process has become another program."""
    try:
        raw = read(f"/proc/{one.pid}/cmdline", _ARGV_LIMIT)
    except OSError:
        return True
    return raw.rstrip(b"\0") != "\0".join(one.argv).encode("utf-8", "replace")


def _is_process(pid: int) -> bool:
    """Whether there is such a process: a thread's id is a PID that was given away as well."""
    if hasattr(os, "pidfd_open"):
        try:
            os.close(os.pidfd_open(pid))
        except OSError as error:
            if error.errno != errno.ENOSYS:
                return False
        else:
            return True
    try:
        return f"\nTgid:\t{pid}\n".encode() in read(f"/proc/{pid}/status")
    except OSError:
        return False


def _last_pid() -> int | None:
    """The PID, or thread's id, that was given away last; None where nobody tells."""
    try:
        return int(read("/proc/loadavg", 256).split()[4])
    except (OSError, IndexError, ValueError):
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


def _see(pid: int, inode: int, now: Moment) -> _Seen | None:
    """One process, or None without it. How long it has run is asked before anything else."""
    so_far, one = ran(pid), _read_process(pid, now)
    return _Seen(inode, so_far, one) if one is not None else None


def _read_process(pid: int, now: Moment) -> Process | None:
    stat = stat_of(pid)
    if stat is None:
        return None
    state, ppid, ticks, kernel = stat
    try:  # a thread of the kernel's has no command line
        raw = b"" if kernel else read(f"/proc/{pid}/cmdline", _ARGV_LIMIT)
    except OSError:
        return None
    argv = tuple(raw.rstrip(b"\0").decode("utf-8", "replace").split("\0"))
    age = now.tick - ticks / HZ
    started = Moment(now.at - age, now.tick - age, now.boot)
    identity = Identity(pid, ticks, now.boot)
    return Process(identity, ppid, argv if raw else (), started, state)


def details(process: Process, variables: Iterable[str]) -> Process:
    """`process` with its directory, program and the named variables, where readable."""
    wanted = set(variables)
    cwd, exe = _link(process.pid, "cwd"), _link(process.pid, "exe")
    uid, nested = standing(process.pid)
    return replace(
        process, cwd=cwd, exe=exe, env=environment(process.pid, wanted), uid=uid, nested=nested
    )


def _link(pid: int, name: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return None
