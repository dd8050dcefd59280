"""Runs a program on a pseudo-terminal of its own, and ends it when the terminal is closed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import termios
from collections.abc import Sequence
from dataclasses import dataclass

READ_CHUNK_BYTES = 65_536
EXIT_TIMEOUT_S = 2.0
"""Time for a program to exit: after its terminal is closed, and again after SIGTERM."""

_WINDOW_REPORT = re.compile(rb"\x1b\[[\d;:]{1,200}t")


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Size of a terminal, in columns and rows."""

    columns: int = 80
    rows: int = 24


def parse_size(text: str) -> TerminalSize | None:
    """Parse a size such as `120x40`. Return None if the text is not a valid size."""
    match = re.fullmatch(r"([1-9]\d{0,2})x([1-9]\d{0,2})", text, re.ASCII)
    return TerminalSize(int(match[1]), int(match[2])) if match else None


def _program_environment() -> dict[str, str]:
    """Return this process's environment, without the variables that describe its own terminal."""
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    overrides = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "RPA_CONSOLE_VIA": "web"}
    return env | overrides


class PtySession:
    """A running program and its pseudo-terminal: output, keys and size."""

    def __init__(self, process: asyncio.subprocess.Process, master_fd: int) -> None:
        self._process = process
        self._master_fd = master_fd
        self._reader = asyncio.StreamReader()
        self._transport: asyncio.ReadTransport | None = None

    @classmethod
    async def open(cls, command: Sequence[str], size: TerminalSize) -> PtySession:
        """Start a program on a new terminal. Raises OSError."""
        master_fd, slave_fd = os.openpty()
        try:
            termios.tcsetwinsize(slave_fd, (size.rows, size.columns))
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=slave_fd,
                stdout=slave_fd,
                stderr=slave_fd,
                env=_program_environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(master_fd)
            raise
        finally:
            os.close(slave_fd)
        session = cls(process, master_fd)
        await session._connect_reader()
        return session

    async def _connect_reader(self) -> None:
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader),
            os.fdopen(self._master_fd, "r+b", buffering=0),
        )

    async def read(self) -> bytes:
        """Return the program's next output, or an empty value after its end."""
        try:
            return await self._reader.read(READ_CHUNK_BYTES)
        except OSError:  # EIO on Linux: the last process has closed the terminal
            return b""

    @property
    def _is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def send_keys(self, keys: bytes) -> None:
        """Write keys to the terminal. Keys that exceed the terminal's input buffer are lost.

        Reports of the window's size and state are removed: only `resize` sets the size.
        """
        try:
            if not self._is_closed and (keys := _WINDOW_REPORT.sub(b"", keys)):
                os.write(self._master_fd, keys)
        except OSError:
            pass

    def resize(self, size: TerminalSize) -> None:
        """Set the terminal's size, and send SIGWINCH.

        The kernel does not send it, since the terminal is not the program's controlling terminal.
        """
        try:
            if not self._is_closed:
                termios.tcsetwinsize(self._master_fd, (size.rows, size.columns))
                self._process.send_signal(signal.SIGWINCH)
        except (OSError, termios.error):
            pass

    async def close(self) -> None:
        """Close the terminal, and end the program: wait, send SIGTERM, wait, send SIGKILL."""
        if self._transport is not None:
            self._transport.close()
        for end_process in (None, self._process.terminate, self._process.kill):
            try:
                if end_process is not None:
                    end_process()
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    await self._process.wait()
                return
            except (TimeoutError, ProcessLookupError):
                continue
