"""Sees to it that nothing of a box is left once its owner is gone, however the owner ended."""

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

MARK = "RPA_CONSOLE_BOX"
DEMO_MARK = "RPA_CONSOLE_DEMO"
GRACE_S = 1.0
POLITE_ROUNDS = 3  # after these, whatever still appears gets no grace: it would start successors
MOST_ROUNDS = 50
QUIET_LOOKS = 5  # a process between fork and exec does not bear the mark yet: look again
log = logging.getLogger("reaper")


@dataclass(frozen=True)
class Held:
    """A process of the box, held by a pidfd where there are any: its PID may change hands."""

    pid: int
    argv: list[str]
    started: float
    process: psutil.Process
    fd: int | None

    def send(self, signum: int) -> bool:
        """Signal this very process; False when it has ended."""
        try:
            if self.fd is None:
                self.process.send_signal(signum)  # compares the start time first
            else:
                signal.pidfd_send_signal(self.fd, signum)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return False
        return True

    def ended(self, within: float = 0.0) -> bool:
        """Whether it has ended, or does within some seconds."""
        if self.fd is None:
            return not psutil.wait_procs([self.process], timeout=within)[1]
        watch = select.poll()
        watch.register(self.fd, select.POLLIN)
        return bool(watch.poll(max(0.0, within) * 1000))

    def release(self) -> None:
        """Let go of the process."""
        if self.fd is not None:
            os.close(self.fd)


def mark(directory: Path) -> str:
    """The value of the mark that every process of the box carries in its environment."""
    return str(directory.absolute() / "state")


def members(directory: Path) -> list[Held]:
    """Every process of the box but the caller, oldest first, each to be released."""
    marks = {mark(directory), mark(directory.resolve())}
    found = (_hold(pid, marks) for pid in psutil.pids() if pid != os.getpid())
    return sorted((held for held in found if held is not None), key=lambda held: held.started)


def _hold(pid: int, marks: set[str]) -> Held | None:
    """Hold one process if it is of the box; held first and looked at then, so both are the same."""
    fd = _pidfd(pid)
    try:
        process = psutil.Process(pid)
        if process.uids().real == os.getuid() and process.environ().get(MARK) in marks:
            return Held(pid, process.cmdline(), process.create_time(), process, fd)
    except (psutil.Error, OSError):
        pass  # it has ended, or is not ours to look at
    if fd is not None:
        os.close(fd)
    return None


def _pidfd(pid: int) -> int | None:
    """A pidfd where this system has any; without, psutil's comparison of start times has to do."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def end_box(directory: Path) -> list[int]:
    """End every process of the box, then remove its directory; return the PIDs that were ended."""
    ended: list[int] = []
    quiet = 0
    for turn in range(MOST_ROUNDS):
        found = members(directory)
        try:
            _end(found, GRACE_S if turn < POLITE_ROUNDS else 0.0)
            ended += [held.pid for held in found if held.ended()]
        finally:
            for held in found:
                held.release()
        quiet = 0 if found else quiet + 1
        if quiet == QUIET_LOOKS:
            break
        if not found:
            time.sleep(0.1)
    remove(directory)
    return ended


def _end(found: list[Held], grace_s: float) -> None:
    """Ask the processes to end, and end those that do not within the grace period."""
    if grace_s:
        for held in found:
            held.send(signal.SIGTERM)
            held.send(signal.SIGCONT)  # a stopped process cannot obey
        _await(found, grace_s)
    for held in found:
        if not held.ended():
            held.send(signal.SIGKILL)
    _await(found, GRACE_S)


def _await(found: Iterable[Held], limit: float) -> None:
    """Wait until all have ended, or the limit is over."""
    deadline = time.monotonic() + limit
    for held in found:
        held.ended(deadline - time.monotonic())


def remove(directory: Path) -> None:
    """Remove a box's directory; a directory that is not a box goes only if it is empty."""
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


def await_end_of(descriptor: int) -> None:
    """Block until nobody holds the other end of the pipe any more."""
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
    await_end_of(options.life_fd)
    ended = end_box(directory)
    log.info("ended %s", ended)


if __name__ == "__main__":
    main()
