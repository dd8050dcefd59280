"""A pseudo-terminal that runs the program, takes real keys and renders the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Any

import pyte


class Glass:
    """A pseudo-terminal of a given size, with the program running in it."""

    def __init__(
        self,
        arguments: list[str],
        environment: dict[str, str],
        size: tuple[int, int] = (120, 40),
    ) -> None:
        columns, rows = size
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "console", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - this process has no other thread
        )
        self.slave = slave

    def pump(self, seconds: float = 0.05) -> None:
        """Read the program's pending output."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return
        try:
            data = os.read(self.master, 65_536)
        except OSError:
            return
        self.raw += data
        self._stream.feed(data)

    @property
    def text(self) -> str:
        """Return the screen's lines as one text."""
        return "\n".join(self.screen.display)

    def wait_for(self, sight: str | Callable[[str], object], seconds: float = 20.0) -> str:
        """Read until the screen shows a text, or satisfies a condition."""
        deadline = time.monotonic() + seconds
        while True:
            self.pump()
            text = self.text
            if sight in text if isinstance(sight, str) else sight(text):
                return text
            shown = f"not within {seconds} s: {sight}\n{text}"
            assert time.monotonic() < deadline, shown
            assert self.process.poll() is None, shown

    def settle(self, quiet: float = 0.3) -> None:
        """Read until nothing has been written for a while."""
        seen = -1
        while len(self.raw) != seen:
            seen = len(self.raw)
            self.pump(quiet)

    def press(self, keys: str) -> None:
        """Send keys to the program."""
        os.write(self.master, keys.encode())

    def leave(self, seconds: float = 15.0) -> int:
        """Read until the program has ended, and return its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            self.pump()
            assert time.monotonic() < deadline, f"still there:\n{self.text}"
        for _ in range(5):
            self.pump(0.02)
        return int(self.process.returncode)

    def restored(self) -> bool:
        """Tell whether the terminal modes are restored and the alternate screen is left."""
        entered, left = self.raw.rfind(b"\x1b[?1049h"), self.raw.rfind(b"\x1b[?1049l")
        now: list[Any] = termios.tcgetattr(self.slave)
        return now == self.before and left > entered

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        os.close(self.slave)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal's master side, as a hang-up does."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
