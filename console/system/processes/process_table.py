"""Reads the process table, and re-exports the functions on single processes.

Those are identity, signals and resource usage, from `procfs` and `pidfd`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable

from console.core.model.processes import Identity, Process
from console.core.model.time import Moment
from console.core.records import Record, replace
from console.system import clock
from console.system.processes.pidfd import ProcessHandle, open_handles, wait_until_dead
from console.system.processes.procfs import (
    CLOCK_TICKS_PER_S,
    IS_LINUX,
    PROC_DIR,
    ProcessError,
    ProcessGone,
    check_pid_namespace,
    identify,
    is_alive,
    read_cpu_time_ns,
    read_environment,
    read_proc_file,
    read_stat,
    read_uid_and_nesting,
    read_usage,
)

__all__ = [
    "IS_LINUX",
    "PROC_DIR",
    "ProcessError",
    "ProcessGone",
    "ProcessHandle",
    "ProcessTable",
    "identify",
    "is_alive",
    "open_handles",
    "placeholder_process",
    "read_environment",
    "read_uid_and_nesting",
    "read_usage",
    "wait_until_dead",
    "with_details",
]

_ARGV_LIMIT = 131_072
EXEC_WINDOW_S = 10.0
"""Age up to which each scan checks whether a process has called exec since it was read."""
_FULL_SCAN_INTERVAL_S = 30.0
"""Interval between full checks for exec calls by older processes.

A full check compares the command lines of all processes that have used CPU time since the last.
"""
_MAX_INCREMENTAL_PIDS = 1_000
"""Limit of an incremental scan: for more newly allocated PIDs, listing `/proc` is cheaper."""


class _CacheEntry(Record, frozen=True):
    """A process as it was last read."""

    inode: int
    """Inode of the directory `/proc/PID`; it differs if the PID was reused."""
    cpu_ns: int | None
    """CPU time used when the process was read, in nanoseconds."""
    process: Process


class ProcessTable:
    """A cached process table, which reads in full only new, young or requested processes."""

    def __init__(self) -> None:
        self._cache: dict[int, _CacheEntry] = {}
        self._full_scan_tick = 0.0
        self._last_pid: int | None = None
        self._exec_candidates: dict[int, _CacheEntry] = {}
        """Processes younger than `EXEC_WINDOW_S`."""
        self._pids_not_yet_visible: set[int] = set()
        """PIDs that were allocated but had no process yet when they were probed."""
        self._unreported_pids: set[int] = set()
        """New or changed PIDs that `scan_new_or_changed` has not returned yet."""
        self._lock = threading.Lock()

    def may_have_changed(self) -> bool:
        """Return True if a process may have been created or have called exec since the last scan.

        The call costs one short read of the PID that the kernel allocated last. Always return True
        if the kernel does not report that PID.
        """
        return bool(
            self._last_pid is None
            or self._exec_candidates
            or self._pids_not_yet_visible
            or self._unreported_pids
            or clock.tick() - self._full_scan_tick > _FULL_SCAN_INTERVAL_S
            or _read_last_pid() != self._last_pid
        )

    @property
    def can_scan_incrementally(self) -> bool:
        """Return True if `scan_new_or_changed` can scan without listing all of `/proc`."""
        return self._allocated_pids(clock.tick()) is not None

    def scan_new_or_changed(self) -> tuple[Process, ...]:
        """Return the processes that may have been created or have called exec since the last scan.

        Only PIDs allocated since then and young processes are read, so the cost does not depend on
        the number of all processes. If an incremental scan is not possible, return all processes.
        Raises ProcessError.
        """
        now = clock.now()
        with self._lock:
            if (allocated := self._allocated_pids(now.tick)) is not None:
                return self._scan_allocated(now, allocated)
            processes = self._scan(now, (), False)
            self._unreported_pids = set()
        return processes

    def _allocated_pids(self, tick: float) -> range | None:
        """Return the PIDs allocated since the last scan, or None if a complete scan is needed."""
        before, last = self._last_pid, _read_last_pid()
        recent = tick - self._full_scan_tick <= _FULL_SCAN_INTERVAL_S
        if (
            recent
            and before is not None
            and last is not None
            and 0 <= last - before <= _MAX_INCREMENTAL_PIDS
        ):
            return range(before + 1, last + 1)
        return None

    def _scan_allocated(self, now: Moment, allocated: range) -> tuple[Process, ...]:
        new = {*filter(_is_process, {*allocated, *self._pids_not_yet_visible})}
        entries = [_read_entry(pid, 0, now) for pid in new]
        entries += [
            _refresh_entry(entry, now)
            for pid, entry in self._exec_candidates.items()
            if pid not in new
        ]
        entries_by_pid = {
            pid: self._cache[pid] for pid in self._unreported_pids if pid in self._cache
        }
        entries_by_pid |= {entry.process.pid: entry for entry in entries if entry is not None}
        self._last_pid, self._exec_candidates = (
            allocated.stop - 1,
            _select_exec_candidates(entries_by_pid, now),
        )
        self._pids_not_yet_visible, self._unreported_pids = (
            {*allocated} - entries_by_pid.keys(),
            set(),
        )
        return tuple(entry.process for entry in entries_by_pid.values())

    def scan(self, refresh_pids: Iterable[int] = (), full: bool = False) -> tuple[Process, ...]:
        """Return every process.

        `refresh_pids`: the PIDs whose state and parent must not come from the cache; `full`: none
        may come from the cache. Raises ProcessError if the table cannot be read at all.
        """
        now = clock.now()
        with self._lock:
            return self._scan(now, refresh_pids, full)

    def _scan(self, now: Moment, refresh_pids: Iterable[int], full: bool) -> tuple[Process, ...]:
        check_pid_namespace()
        check_due = now.tick - self._full_scan_tick > _FULL_SCAN_INTERVAL_S
        if full or check_due:
            self._full_scan_tick = now.tick
        # Read before the listing: a process created in between is then read twice, not missed.
        self._last_pid = _read_last_pid()
        uncached_pids = {*refresh_pids, *self._exec_candidates}
        entries: dict[int, _CacheEntry] = {}
        for pid, inode in _list_pids().items():
            cached = self._cache.get(pid)
            if cached is None or cached.inode != inode:
                cached, entry = None, _read_entry(pid, inode, now)
            elif full or pid in uncached_pids:
                entry = _read_entry(pid, inode, now)
            else:
                entry = _refresh_entry(cached, now) if check_due else cached
            if entry is None:
                continue
            entries[pid] = entry
            if cached is None or cached.process.argv != entry.process.argv:
                self._unreported_pids.add(pid)
        self._cache = entries
        self._exec_candidates, self._pids_not_yet_visible = (
            _select_exec_candidates(entries, now),
            set(),
        )
        return tuple(entry.process for entry in entries.values())


def _select_exec_candidates(entries: dict[int, _CacheEntry], now: Moment) -> dict[int, _CacheEntry]:
    """Return the entries of processes younger than `EXEC_WINDOW_S`."""
    return {
        pid: entry
        for pid, entry in entries.items()
        if now.tick - entry.process.started.tick < EXEC_WINDOW_S
    }


def _refresh_entry(entry: _CacheEntry, now: Moment) -> _CacheEntry | None:
    """Return the current entry of a process, or None if the process is gone.

    The process is read again if it has called exec.
    """
    pid = entry.process.pid
    # Read before the command line: CPU time used from here on triggers another check.
    cpu_ns = read_cpu_time_ns(pid)
    if cpu_ns is not None and cpu_ns == entry.cpu_ns:
        return entry
    return (
        _read_entry(pid, entry.inode, now)
        if _has_changed_program(entry.process)
        else replace(entry, cpu_ns=cpu_ns)
    )


def _has_changed_program(process: Process) -> bool:
    """Return True if the process's command line has changed or cannot be read."""
    try:
        raw = read_proc_file(f"/proc/{process.pid}/cmdline", _ARGV_LIMIT)
    except OSError:
        return True
    return raw.rstrip(b"\0") != "\0".join(process.argv).encode("utf-8", "replace")


def _is_process(pid: int) -> bool:
    """Return True if the PID is that of a process, and not of a thread: both share one range."""
    if hasattr(os, "pidfd_open"):
        try:
            os.close(os.pidfd_open(pid))
        except OSError as error:
            if error.errno != errno.ENOSYS:
                return False
        else:
            return True
    try:
        return f"\nTgid:\t{pid}\n".encode() in read_proc_file(f"/proc/{pid}/status")
    except OSError:
        return False


def _read_last_pid() -> int | None:
    """Return the PID or thread id allocated last, or None if the kernel does not report it."""

    try:
        return int(read_proc_file("/proc/loadavg", 256).split()[4])
    except (OSError, IndexError, ValueError):
        return None


def _list_pids() -> dict[int, int]:
    """Return PID -> inode of its directory in `/proc`, which differs if the PID was reused.

    Raises ProcessError.
    """
    try:
        with os.scandir(PROC_DIR) as entries:
            return {int(entry.name): entry.inode() for entry in entries if entry.name.isdigit()}
    except OSError as error:
        raise ProcessError(f"the process table cannot be read: {error.strerror}") from error


def placeholder_process(identity: Identity, started: Moment) -> Process:
    """Return a process of which only the identity and the start are known, from the event log."""
    return Process(identity, 1, (), started)


def _read_entry(pid: int, inode: int, now: Moment) -> _CacheEntry | None:
    """Return the entry of one process, or None if it is gone. The CPU time is read first."""
    cpu_ns, process = read_cpu_time_ns(pid), _read_process(pid, now)
    return _CacheEntry(inode, cpu_ns, process) if process is not None else None


def _read_process(pid: int, now: Moment) -> Process | None:
    stat = read_stat(pid)
    if stat is None:
        return None
    state, ppid, ticks, is_kernel_thread = stat
    try:  # kernel threads have no command line
        raw = b"" if is_kernel_thread else read_proc_file(f"/proc/{pid}/cmdline", _ARGV_LIMIT)
    except OSError:
        return None
    argv = tuple(raw.rstrip(b"\0").decode("utf-8", "replace").split("\0"))
    age_s = now.tick - ticks / CLOCK_TICKS_PER_S
    started = Moment(now.at - age_s, now.tick - age_s, now.boot)
    identity = Identity(pid, ticks, now.boot)
    return Process(identity, ppid, argv if raw else (), started, state)


def with_details(process: Process, variables: Iterable[str]) -> Process:
    """Return the process with its working directory, program, user and the named variables.

    Details that cannot be read are None, or missing.
    """
    names = set(variables)
    cwd, exe = _read_link(process.pid, "cwd"), _read_link(process.pid, "exe")
    uid, is_nested = read_uid_and_nesting(process.pid)
    return replace(
        process,
        cwd=cwd,
        exe=exe,
        env=read_environment(process.pid, names),
        uid=uid,
        in_container=is_nested,
    )


def _read_link(pid: int, name: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError:
        return None
