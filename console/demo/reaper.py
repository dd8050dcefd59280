"""Ends every process of a box and removes it once its owner has ended, even by SIGKILL."""

from __future__ import annotations

import argparse
import logging
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

BOX_ENV_MARKER = "RPA_CONSOLE_BOX"
DEMO_ENV_MARKER = "RPA_CONSOLE_DEMO"
GRACE_PERIOD_S = 1.0
GRACEFUL_ROUNDS = 3  # later rounds have no grace period, in which a process starts successors
MAX_ROUNDS = 50
# A process between fork and exec does not have the marker yet: one empty round proves nothing.
REQUIRED_EMPTY_ROUNDS = 5
log = logging.getLogger("reaper")


@dataclass(frozen=True)
class HeldProcess:
    """A process of the box, held by a pidfd where the system has them.

    The kernel may reuse a PID for another process; a pidfd always means the same process.
    """

    pid: int
    argv: list[str]
    started_at: float
    process: psutil.Process
    pidfd: int | None

    def send(self, signum: int) -> bool:
        """Send a signal to this process; return False if it has ended."""
        try:
            if self.pidfd is None:
                self.process.send_signal(signum)  # psutil compares the start time first
            else:
                signal.pidfd_send_signal(self.pidfd, signum)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False
        return True

    def has_ended(self, timeout_s: float = 0.0) -> bool:
        """Return True if the process has ended, or ends within `timeout_s` seconds."""
        if self.pidfd is None:
            return not psutil.wait_procs([self.process], timeout=timeout_s)[1]
        watch = select.poll()
        watch.register(self.pidfd, select.POLLIN)
        return bool(watch.poll(max(0.0, timeout_s) * 1000))

    def release(self) -> None:
        """Close the pidfd."""
        if self.pidfd is not None:
            os.close(self.pidfd)


def marker_value(directory: Path) -> str:
    """Return the value of the environment marker that every process of the box carries."""
    return str(directory.absolute() / "state")


def hold_box_processes(directory: Path) -> list[HeldProcess]:
    """Return every process of the box except the caller, oldest first.

    The caller must release each of them.
    """
    markers = {marker_value(directory), marker_value(directory.resolve())}
    processes = (_hold_if_member(pid, markers) for pid in psutil.pids() if pid != os.getpid())
    return sorted(
        (process for process in processes if process is not None),
        key=lambda process: process.started_at,
    )


def _hold_if_member(pid: int, marker_values: set[str]) -> HeldProcess | None:
    """Hold one process and return it if it belongs to the box; else return None.

    The pidfd is opened before the inspection, so that both refer to the same process.
    """
    fd = _open_pidfd(pid)
    try:
        process = psutil.Process(pid)
        if (
            process.uids().real == os.getuid()
            and process.environ().get(BOX_ENV_MARKER) in marker_values
        ):
            return HeldProcess(pid, process.cmdline(), process.create_time(), process, fd)
    except (psutil.Error, OSError):
        pass  # the process has ended, or may not be inspected
    if fd is not None:
        os.close(fd)
    return None


def _open_pidfd(pid: int) -> int | None:
    """Return a pidfd, or None if the system has none or the process cannot be opened.

    Without a pidfd, psutil's comparison of start times has to suffice.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def stop_and_remove_box(directory: Path) -> list[int]:
    """End every process of the box, then remove its directory; return the ended PIDs."""
    ended: list[int] = []
    empty_rounds = 0
    for round_number in range(MAX_ROUNDS):
        processes = hold_box_processes(directory)
        try:
            _terminate(processes, GRACE_PERIOD_S if round_number < GRACEFUL_ROUNDS else 0.0)
            ended += [process.pid for process in processes if process.has_ended()]
        finally:
            for process in processes:
                process.release()
        empty_rounds = 0 if processes else empty_rounds + 1
        if empty_rounds == REQUIRED_EMPTY_ROUNDS:
            break
        if not processes:
            time.sleep(0.1)
    remove_box_directory(directory)
    return ended


def _terminate(found: list[HeldProcess], grace_period_s: float) -> None:
    """Send SIGTERM, and SIGKILL to the processes that outlive the grace period.

    With a grace period of 0, send SIGKILL at once.
    """
    if grace_period_s:
        for process in found:
            process.send(signal.SIGTERM)
            process.send(signal.SIGCONT)  # a stopped process cannot handle SIGTERM
        _wait_for_exit(found, grace_period_s)
    for process in found:
        if not process.has_ended():
            process.send(signal.SIGKILL)
    _wait_for_exit(found, GRACE_PERIOD_S)


def _wait_for_exit(found: Iterable[HeldProcess], timeout_s: float) -> None:
    """Wait until all processes have ended, or `timeout_s` seconds have passed."""
    deadline = time.monotonic() + timeout_s
    for process in found:
        process.has_ended(deadline - time.monotonic())


def remove_box_directory(directory: Path) -> None:
    """Remove a box's directory. A directory that is not a box is removed only if it is empty."""
    if not (directory / "config.toml").is_file():
        try:
            directory.rmdir()
        except OSError:
            pass
        return
    for _ in range(10):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)
    log.error("could not remove %s", directory)


def wait_for_eof(descriptor: int) -> None:
    """Block until the last write end of the pipe is closed."""
    while os.read(descriptor, 4096):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--life-fd", type=int, required=True)
    options = parser.parse_args()
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    logging.basicConfig(
        stream=sys.stderr, level="INFO", format="%(asctime)s %(levelname)s %(message)s"
    )
    directory = options.directory.absolute()
    os.chdir("/")
    wait_for_eof(options.life_fd)
    ended = stop_and_remove_box(directory)
    log.info("ended %s", ended)


if __name__ == "__main__":
    main()
