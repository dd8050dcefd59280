"""A person's own command, told something on its standard input: bounded in time, alone in a group.

It can hang, fail, fork or talk for ever: none of that reaches the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from console.core.processes.instances import LEASE_FD_VARIABLE, MARKS
from console.core.text.formatting import visible

WORDS, LAST_WORDS_S = 300, 0.2


async def call(
    command: Sequence[str], told: bytes, env: Mapping[str, str], timeout_s: float
) -> str | None:
    """Run the command to its end; None when it has succeeded, otherwise why it has not."""
    kept = {k: v for k, v in os.environ.items() if k not in (*MARKS, LEASE_FD_VARIABLE)}
    # A pipe of our own: asyncio would wait for whoever else has inherited one of its.
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=writing,
            env={**kept, **env},
            start_new_session=True,
            cwd="/",
        )
    except (OSError, ValueError) as error:
        os.close(reading)
        reason = error.strerror if isinstance(error, OSError) else None
        return f"cannot be started: {(reason or str(error)).lower()}"
    finally:
        os.close(writing)
    return await _attend(process, _Words(reading), told, timeout_s)


async def _attend(
    process: asyncio.subprocess.Process, words: _Words, told: bytes, timeout_s: float
) -> str | None:
    await words.open()
    try:
        async with asyncio.timeout(timeout_s):
            await _tell(process, told)
            code = await process.wait()
            if code:
                await words.finished()
    except TimeoutError:
        return f"did not end within {timeout_s:g} s"
    finally:
        words.close()
        if process.returncode is None:  # not yet reaped: its number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code == 0:
        return None
    said = visible(words.said.decode("utf-8", "replace").strip(), WORDS)
    return f"exit code {code}" + (f": {said}" if said else "")


async def _tell(process: asyncio.subprocess.Process, told: bytes) -> None:
    """Write to its standard input; one that does not read it is none the worse."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(told)
        await process.stdin.drain()
    process.stdin.close()


class _Words(asyncio.Protocol):
    """The end of what it says on standard error; the rest is read and forgotten."""

    def __init__(self, descriptor: int) -> None:
        self.said = b""
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._over = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: self, self._file)

    def data_received(self, data: bytes) -> None:
        self.said = (self.said + data)[-WORDS:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._over.set()

    async def finished(self) -> None:
        """Wait a moment for its last words: others may hold the pipe for longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._over.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
