"""A program on a pseudo-terminal of its own. When the terminal is closed, the program goes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import termios
from collections.abc import Sequence
from dataclasses import dataclass

READ_BYTES = 65_536
PATIENCE_S = 2.0
"""What a program that lost its terminal gets before it is told, and then before it is ended."""

_REPORT = re.compile(rb"\x1b\[[\d;:]{1,200}t")


@dataclass(frozen=True, slots=True)
class Size:
    """Columns and rows."""

    columns: int = 80
    rows: int = 24


def parse_size(text: str) -> Size | None:
    """`120x40`, or None for what is no size of a terminal."""
    found = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text, re.ASCII)
    return Size(int(found[1]), int(found[2])) if found else None


def _environment() -> dict[str, str]:
    """Ours, but for what tells of the terminal that we ourselves are on."""
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    own = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "RPA_CONSOLE_VIA": "web"}
    return env | own


class Terminal:
    """What the program shows can be read, keys can be typed, the size can change."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master
        self._reader = asyncio.StreamReader()
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def open(cls, command: Sequence[str], size: Size) -> Terminal:
        """Start a program on a new terminal. Raises OSError."""
        master, slave = os.openpty()
        try:
            termios.tcsetwinsize(slave, (size.rows, size.columns))
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=_environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        terminal = cls(process, master)
        await terminal._attach()
        return terminal

    async def _attach(self) -> None:
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader),
            os.fdopen(self._master, "r+b", buffering=0),
        )

    async def read(self) -> bytes:
        """What was drawn; nothing when the program has gone."""
        try:
            return await self._reader.read(READ_BYTES)
        except OSError:  # how Linux says that the last one has left the terminal
            return b""

    @property
    def _gone(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def type(self, keys: bytes) -> None:
        """Send keys. A program that does not read them loses what its terminal cannot hold.

        Reports of a window's size and state are left out: the size comes by `resize` alone.
        """
        try:
            if not self._gone and (keys := _REPORT.sub(b"", keys)):
                os.write(self._master, keys)
        except OSError:
            pass

    def resize(self, size: Size) -> None:
        """Change the size and tell the program, which has no controlling terminal to tell it."""
        try:
            if not self._gone:
                termios.tcsetwinsize(self._master, (size.rows, size.columns))
                self._process.send_signal(signal.SIGWINCH)
        except (OSError, termios.error):
            pass

    async def close(self) -> None:
        """Hang up, and see to it that the program goes."""
        if self._transport is not None:
            self._transport.close()
        for end in (None, self._process.terminate, self._process.kill):
            try:
                if end is not None:
                    end()
                async with asyncio.timeout(PATIENCE_S):
                    await self._process.wait()
                return
            except (TimeoutError, ProcessLookupError):
                continue
