"""Waits until a worker is dead: bounds its logs, reports to the caller, obeys SIGTERM."""

from __future__ import annotations

import ctypes
import os
import select
import signal

from console.system.shim.worker import Worker, moment, report

_PR_SET_CHILD_SUBREAPER = 36
_IDLE_CHECK_S, _BUSY_CHECK_S, _MIN_CHECK_S = 2.0, 0.25, 0.02
"""Time to the next look at the logs: while they do not grow, while they grow, and at least."""
_AFTER_KILL_S = 5.0


def supervise(worker: Worker, wake: int, status: int) -> int:
    """Wait until the worker is dead, and return the descriptor for reports, or -1 if it is closed.

    `wake` becomes readable when a signal arrives.
    """
    spec, size = worker.spec, 0
    now = checked = moment()[1]
    settle, check, ending = now + spec["settle_s"], now + _BUSY_CHECK_S, 0.0
    while not worker.reap():
        now = moment()[1]
        if status >= 0 and now >= settle:
            report(status, "settled")
            os.close(status)
            status = -1
        if now >= check:
            before, limit = size, spec["log_bytes"]
            size = sum(rotate(path, limit) for path in spec["logs"].values())
            check, checked = now + next_check_s(before, size, now - checked, limit), now
        if ending and now >= ending:
            os.kill(worker.pid, signal.SIGKILL)  # a child that is not reaped keeps its PID
            ending = now + _AFTER_KILL_S
        due = min([check, *([settle] if status >= 0 else []), *([ending] if ending else [])])
        arrived = wait_for_signal(wake, max(0.0, due - now))
        if signal.SIGTERM in arrived and not ending:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGCONT)
            ending = moment()[1] + spec["grace_s"]  # `now` was taken before the wait
    return status


def next_check_s(before: int, size: int, seconds: float, limit: int) -> float:
    """Return the seconds to the next look at logs that grew from `before` to `size` bytes.

    Logs that grow are looked at before they exceed `limit`. Looking at two logs every 2 s costs
    0.005 % of a core.
    """
    if size == before:
        return _IDLE_CHECK_S
    if size < before:  # a log has exceeded its limit and was emptied
        return _MIN_CHECK_S
    rate = (size - before) / max(seconds, 0.001)
    return min(_BUSY_CHECK_S, max(_MIN_CHECK_S, (limit - size) / (2 * rate + 1)))


def rotate(path: str, limit: int) -> int:
    """Keep the newest `limit` bytes of a log that has grown past it as `.1`; its size now.

    The worker's descriptor appends, so it goes on writing at the new end: no pipe that could
    break or block it when the shim dies.
    """
    try:
        size = os.stat(path).st_size  # all that is asked, as a rule
        if size <= limit:
            return size
        with open(path, "rb+") as file:
            file.seek(-limit, os.SEEK_END)
            with open(f"{path}.1", "wb") as old:
                old.write(file.read(limit))
            file.truncate(0)
    except OSError:
        pass
    return 0


def wait_for_signal(wake: int, seconds: float) -> bytes:
    """Sleep until a signal arrives or the time has passed; return the signals' numbers."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    return os.read(wake, 512) if poll.poll(seconds * 1000) else b""


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends: PR_SET_CHILD_SUBREAPER, prctl(2)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (AttributeError, OSError):
        pass  # a C library without prctl


def install_signal_handlers() -> int:
    """Outlive terminals, and return the descriptor that SIGTERM and SIGCHLD make readable."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading
