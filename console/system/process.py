"""The process table, and signals that reach only the process that was meant.

What is Linux only (`/proc`, pidfd) is behind this door; elsewhere psutil answers.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from console.core.model import Identity, Moment, Process
from console.system import clock

PROC = Path("/proc")
LINUX = sys.platform.startswith("linux")
_HZ = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_ARGV_LIMIT = 131_072
YOUNG_S = 10.0
"""A process may still become another program by exec soon after it was started."""


class ProcessError(Exception):
    """A process could not be signalled: gone, replaced by another, or not permitted."""


class Gone(ProcessError):
    """The process that was meant is no more."""


def _read(path: str, limit: int = 4096) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while limit > 0 and (chunk := os.read(descriptor, limit)):
            chunks.append(chunk)
            limit -= len(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)


def _stat(pid: int) -> tuple[str, int, int] | None:
    """(state, ppid, start ticks), or None when there is no such process."""
    try:
        raw = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses and newlines included.
    fields = raw[raw.rfind(b")") + 2 :].split()
    return (fields[0].decode(), int(fields[1]), int(fields[19])) if len(fields) > 19 else None


def identify(pid: int) -> Identity | None:
    """The identity of the process that has this PID now; None when there is none."""
    if LINUX:
        stat = _stat(pid)
        return Identity(pid, stat[2], clock.boot_id()) if stat else None
    import psutil

    try:
        return Identity(pid, int(psutil.Process(pid).create_time() * 100), clock.boot_id())
    except psutil.Error:
        return None


def alive(identity: Identity) -> bool:
    """Whether this very process exists and is not a zombie."""
    if identity.boot != clock.boot_id():
        return False
    if LINUX:
        stat = _stat(identity.pid)
        return stat is not None and stat[2] == identity.ticks and stat[0] not in "ZX"
    return identify(identity.pid) == identity


class Table:
    """Looks at all processes, reading in full only what is new, young or asked for again."""

    def __init__(self) -> None:
        self._known: dict[int, Process] = {}

    def look(self, again: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        """Every process. `again`: PIDs whose state and parent must be fresh; `full`: all of them.

        Raises ProcessError when the table cannot be read at all.
        """
        now = clock.now()
        if not LINUX:
            return _look_with_psutil(now)
        try:
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        except OSError as error:
            raise ProcessError(f"the process table cannot be read: {error.strerror}") from error
        fresh = set(again)
        known: dict[int, Process] = {}
        for pid in pids:
            old = self._known.get(pid)
            if full or old is None or pid in fresh or now.since(old.started) < YOUNG_S:
                old = _read_process(pid, now)
            if old is not None:
                known[pid] = old
        self._known = known
        return tuple(known.values())


def _read_process(pid: int, now: Moment) -> Process | None:
    stat = _stat(pid)
    if stat is None:
        return None
    state, ppid, ticks = stat
    try:
        raw = _read(f"/proc/{pid}/cmdline", _ARGV_LIMIT)
        uid = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    argv = tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0"))
    age = now.tick - ticks / _HZ
    started = Moment(now.at - age, now.tick - age, now.boot)
    identity = Identity(pid, ticks, now.boot)
    return Process(identity, ppid, argv if raw else (), started, uid, state)


def _look_with_psutil(now: Moment) -> tuple[Process, ...]:
    import psutil

    found = []
    for process in psutil.process_iter(["ppid", "cmdline", "create_time", "status"]):
        info = process.info
        created = info["create_time"] or 0.0
        age = max(0.0, now.at - created)
        found.append(
            Process(
                Identity(process.pid, int(created * 100), now.boot),
                info["ppid"] or 0,
                tuple(info["cmdline"] or ()),
                Moment(created, now.tick - age, now.boot),
                0,
                {"zombie": "Z", "stopped": "T", "disk-sleep": "D"}.get(info["status"], "S"),
            )
        )
    return tuple(found)


def details(process: Process, variables: Iterable[str]) -> Process:
    """`process` with its working directory and the named environment variables, where readable."""
    wanted = set(variables)
    if not LINUX:
        return _details_with_psutil(process, wanted)
    try:
        cwd = str(Path(f"/proc/{process.pid}/cwd").readlink())
    except OSError:
        cwd = None
    return replace(process, cwd=cwd, env=environment(process.pid, wanted))


def environment(pid: int, wanted: set[str]) -> dict[str, str]:
    """The wanted variables of a process's environment at its start; empty when unreadable."""
    try:
        raw = _read(f"/proc/{pid}/environ", 1_000_000)
    except OSError:
        return {}
    found = {}
    for entry in raw.split(b"\0"):
        key, separator, value = entry.partition(b"=")
        name = key.decode("utf-8", "replace")
        if separator and name in wanted:
            found[name] = value.decode("utf-8", "surrogateescape")
    return found


def _details_with_psutil(process: Process, wanted: set[str]) -> Process:
    import psutil

    try:
        target = psutil.Process(process.pid)
        env = {key: value for key, value in target.environ().items() if key in wanted}
        return replace(process, cwd=target.cwd(), env=env)
    except psutil.Error:
        return process


class Handle:
    """A process held by a pidfd that was opened *before* its identity was checked.

    The kernel then guarantees that a signal reaches this process or none. Raises Gone.
    """

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._descriptor: int | None = None
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(identity.pid)
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise Gone(f"PID {identity.pid} is gone") from error
        if identify(identity.pid) != identity:
            self.close()
            raise Gone(f"PID {identity.pid} is no longer the process that was meant")

    def fileno(self) -> int:
        """The pidfd: readable once the process is dead. Raises ProcessError without pidfd."""
        if self._descriptor is None:
            raise ProcessError("this system has no pidfd")
        return self._descriptor

    def send(self, number: int) -> None:
        """Send a signal. Raises Gone, or ProcessError when it is not permitted."""
        try:
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, number)
            elif identify(self.identity.pid) == self.identity:
                os.kill(self.identity.pid, number)
            else:
                raise Gone(f"PID {self.identity.pid} is gone")
        except ProcessLookupError as error:
            raise Gone(f"PID {self.identity.pid} is gone") from error
        except PermissionError as error:
            raise ProcessError(
                f"no permission to signal PID {self.identity.pid} (another user's process)"
            ) from error

    @property
    def dead(self) -> bool:
        """Whether it has ended; a zombie has."""
        if self._descriptor is not None:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            return bool(poll.poll(0))
        return not alive(self.identity)

    def close(self) -> None:
        """Let go of it; nothing happens to the process."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def wait_dead(handles: Sequence[Handle], timeout: float) -> list[Handle]:
    """Wait until all are dead or `timeout` seconds are over; those that still live."""
    deadline = clock.tick() + timeout
    living = [handle for handle in handles if not handle.dead]
    while living and (left := deadline - clock.tick()) > 0:
        _wait_any(living, min(left, 0.5))
        living = [handle for handle in living if not handle.dead]
    return living


def _wait_any(handles: Sequence[Handle], timeout: float) -> None:
    poll = select.poll()
    try:
        for handle in handles:
            poll.register(handle.fileno(), select.POLLIN)
    except ProcessError:
        timeout = min(timeout, 0.05)  # no pidfd: looking again is all there is
    poll.poll(timeout * 1000)


def usage(pids: Iterable[int]) -> tuple[float, int]:
    """(CPU seconds used so far, resident bytes), summed over the processes that can be read."""
    seconds, resident = 0.0, 0
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    for pid in pids:
        try:
            raw = _read(f"/proc/{pid}/stat")
            fields = raw[raw.rfind(b")") + 2 :].split()
            seconds += (int(fields[11]) + int(fields[12])) / _HZ
            resident += int(fields[21]) * page
        except (OSError, IndexError, ValueError):
            continue
    return seconds, resident


def open_handles(identities: Iterable[Identity]) -> list[Handle]:
    """A handle for each that still lives."""
    handles = []
    for identity in identities:
        try:
            handles.append(Handle(identity))
        except Gone:
            continue
    return handles
