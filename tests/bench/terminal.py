"""A program in its own pty: its output, the times of its output, and its answers to keys."""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

from tests.bench import machine
from tests.bench.emulator import Emulator

COLUMNS, ROWS = 120, 40
QUIET_S = 0.05
"""Seconds of silence that end an answer."""
PATIENCE_S = 30.0
KEYS = {"Down": "\x1b[B", "Up": "\x1b[A", "Tab": "\t"}
now = time.monotonic


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Ended(Exception):
    """The program ended unexpectedly, or did not show the expected text."""


class Terminal:
    """A program in a pty; the context manager's exit ends the program."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.name = os.path.basename(argv[0])
        self.emulator = Emulator(COLUMNS, ROWS)
        self.arrivals: list[tuple[float, int]] = []
        self._undrawn: deque[tuple[float, bytes]] = deque()
        self._drawing = True
        self._tty, program = os.openpty()
        fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        self._settings = termios.tcgetattr(self._tty)
        told = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        kept = {k: v for k, v in os.environ.items() if k not in ("LINES", "COLUMNS", "NO_COLOR")}
        self.started = now()
        self.process = subprocess.Popen(
            argv,
            stdin=program,
            stdout=program,
            stderr=program,
            env=kept | told,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - one call to the kernel
        )
        os.close(program)
        self._pidfd = os.pidfd_open(self.process.pid)
        self._poll = select.poll()
        self._poll.register(self._tty, select.POLLIN)
        self._poll.register(self._pidfd, select.POLLIN)
        self.ended: float | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        os.close(self._pidfd)
        os.close(self._tty)

    # --- reading ---------------------------------------------------------------------------

    def read(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Read for some seconds or until a condition; draw only while no input is ready."""
        deadline = now() + seconds
        while not until() and self.ended is None and (left := deadline - now()) > 0:
            ready = dict(self._poll.poll(0 if self._undrawn else left * 1000))
            if self._tty in ready:
                self._take()
            elif ready:
                self.ended = now()
            elif self._undrawn:
                self.emulator.draw(self._undrawn.popleft()[1])

    def _take(self) -> None:
        try:
            chunk = os.read(self._tty, 65_536)
        except OSError:  # the other end is closed
            self._poll.unregister(self._tty)
            return
        moment = now()
        self.arrivals.append((moment, len(chunk)))
        answer, drawable = self.emulator.take(chunk)
        if answer:
            os.write(self._tty, answer)
        if self._drawing:
            self._undrawn.append((moment, drawable))

    def shows(self, what: Callable[[str], bool], patience: float = PATIENCE_S) -> float:
        """Return the arrival time of the bytes that made the screen match. Raises Ended."""
        deadline = now() + patience
        while now() < deadline and self.ended is None:
            self.read(min(0.5, deadline - now()), until=lambda: bool(self._undrawn))
            while self._undrawn:
                moment, drawable = self._undrawn.popleft()
                self.emulator.draw(drawable)
                self._take_all()
                if what(self.emulator.text):
                    return moment
        raise Ended(f"{self.name}: not shown:\n{self.emulator.text.strip()[:2000]}")

    def _take_all(self) -> None:
        """Read all pending output, to time its arrival: drawing is slow."""
        while self._tty in dict(self._poll.poll(0)):
            before = len(self.arrivals)
            self._take()
            if len(self.arrivals) == before:
                return

    def blind(self) -> None:
        """Stop drawing: it would take CPU time from the program."""
        self._drawing = False
        self._undrawn.clear()

    def seeing(self) -> None:
        """Resume drawing."""
        self._drawing = True

    # --- figures ---------------------------------------------------------------------------

    def written(self, since: float) -> int:
        """Return the number of bytes written since a moment."""
        return sum(size for moment, size in self.arrivals if moment >= since)

    def _silence(self, patience: float = 2.0) -> None:
        deadline = now() + patience
        while self._heard(QUIET_S) and now() < deadline:
            pass

    def _heard(self, within: float) -> bool:
        """Return True if the program writes within some seconds."""
        count = len(self.arrivals)
        self.read(within, until=lambda: len(self.arrivals) > count)
        return len(self.arrivals) > count

    def press(self, key: str) -> tuple[float, float] | None:
        """Return (ms to the first byte, ms to the last before silence); None without output."""
        self.read(random.uniform(0.1, 0.4))  # not in phase with a refresh
        self._silence()
        count, sent = len(self.arrivals), now()
        os.write(self._tty, KEYS.get(key, key).encode())
        if not self._heard(2.0):
            return None
        self._silence(1.0)
        return (self.arrivals[count][0] - sent) * 1000, (self.arrivals[-1][0] - sent) * 1000

    def quit(self, keys: Sequence[str]) -> tuple[float, list[str]]:
        """Return (seconds to the exit, modes left on). Raises Ended."""
        if self.ended is not None:
            raise Ended(f"{self.name} ended unasked")
        asked = now()
        for key in keys:
            os.write(self._tty, key.encode())
            self.read(0.3 if key != keys[-1] else PATIENCE_S)
        if self.ended is None:
            raise Ended(f"{self.name} does not quit")
        self._take_all()
        left = self.emulator.left_on()
        if termios.tcgetattr(self._tty) != self._settings:
            left.append("tty settings")
        return self.ended - asked, left

    def pids(self) -> list[int]:
        """Return the PIDs of the program and its descendants."""
        return machine.tree(self.process.pid)
