"""Supervises a worker until it is dead: limits its logs, reports to the caller, handles SIGTERM."""

from __future__ import annotations

import ctypes
import os
import select
import signal

from console.system.shim.worker import Worker, read_clocks, send_report

_PR_SET_CHILD_SUBREAPER = 36
_IDLE_CHECK_INTERVAL_S, _BUSY_CHECK_INTERVAL_S, _MIN_CHECK_INTERVAL_S = 2.0, 0.25, 0.02
"""Intervals of the log size checks: for unchanged logs, the most for growing logs, the minimum."""
_KILL_RETRY_DELAY_S = 5.0


def supervise(worker: Worker, wakeup_fd: int, report_fd: int) -> int:
    """Wait until the worker is dead; return the descriptor for reports, or -1 if it was closed.

    `wakeup_fd` becomes readable when a signal arrives. On SIGTERM, the worker gets SIGTERM, and
    SIGKILL after the grace period.
    """
    spec, size = worker.spec, 0
    now = checked_at = read_clocks()[1]
    settle_at, check_at, kill_at = now + spec["settle_s"], now + _BUSY_CHECK_INTERVAL_S, 0.0
    while not worker.reap():
        now = read_clocks()[1]
        if report_fd >= 0 and now >= settle_at:
            send_report(report_fd, "settled")
            os.close(report_fd)
            report_fd = -1
        if now >= check_at:
            previous_size, max_bytes = size, spec["log_bytes"]
            size = sum(rotate_log(path, max_bytes) for path in spec["logs"].values())
            check_at, checked_at = (
                now + next_check_delay_s(previous_size, size, now - checked_at, max_bytes),
                now,
            )
        if kill_at and now >= kill_at:
            os.kill(worker.pid, signal.SIGKILL)  # the child is not reaped yet: no PID reuse
            kill_at = now + _KILL_RETRY_DELAY_S
        next_at = min(
            [check_at, *([settle_at] if report_fd >= 0 else []), *([kill_at] if kill_at else [])]
        )
        signals = wait_for_signal(wakeup_fd, max(0.0, next_at - now))
        if signal.SIGTERM in signals and not kill_at:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGCONT)
            kill_at = read_clocks()[1] + spec["grace_s"]  # `now` was taken before the wait
    return report_fd


def next_check_delay_s(previous_size: int, size: int, elapsed_s: float, max_bytes: int) -> float:
    """Return the seconds until the next size check of logs that grew from `previous_size`.

    Growing logs are checked before they can exceed `max_bytes`. Checking two logs every 2 s costs
    0.005 % of a core.
    """
    if size == previous_size:
        return _IDLE_CHECK_INTERVAL_S
    if size < previous_size:  # a log exceeded its limit and was emptied
        return _MIN_CHECK_INTERVAL_S
    rate = (size - previous_size) / max(elapsed_s, 0.001)
    return min(
        _BUSY_CHECK_INTERVAL_S, max(_MIN_CHECK_INTERVAL_S, (max_bytes - size) / (2 * rate + 1))
    )


def rotate_log(path: str, max_bytes: int) -> int:
    """Move the newest `max_bytes` of a log that is larger to `PATH.1`, and empty the log.

    Return the log's size now, or 0 on errors. The worker's descriptor is in append mode, so the
    worker continues at the new end. A pipe instead of a file could break or block the worker when
    the shim dies.
    """
    try:
        size = os.stat(path).st_size
        if size <= max_bytes:
            return size
        with open(path, "rb+") as file:
            file.seek(-max_bytes, os.SEEK_END)
            with open(f"{path}.1", "wb") as old:
                old.write(file.read(max_bytes))
            file.truncate(0)
    except OSError:
        pass
    return 0


def wait_for_signal(wakeup_fd: int, timeout_s: float) -> bytes:
    """Wait until a signal arrives or `timeout_s` has passed; return the signal numbers."""
    poller = select.poll()
    poller.register(wakeup_fd, select.POLLIN)
    return os.read(wakeup_fd, 512) if poller.poll(timeout_s * 1000) else b""


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants: PR_SET_CHILD_SUBREAPER, prctl(2)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (AttributeError, OSError):
        pass  # a C library without prctl


def install_signal_handlers() -> int:
    """Ignore SIGHUP, SIGINT and SIGPIPE; return a descriptor for SIGTERM and SIGCHLD.

    It becomes readable when one of those two arrives.
    """
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_IGN)
    read_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    return read_fd
