"""Runs an operator's hook command, with a timeout and in a session of its own.

The command gets its input on standard input. If it hangs, fails, forks or writes without end, the
caller is not affected.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from console.core.processes.instances import ENV_MARKERS, LEASE_FD_VARIABLE
from console.core.text.formatting import sanitize_text

MAX_STDERR_BYTES, STDERR_TIMEOUT_S = 300, 0.2


async def run_hook(
    command: Sequence[str], stdin_data: bytes, env: Mapping[str, str], timeout_s: float
) -> str | None:
    """Run the command to its end. Return None if it succeeded, otherwise the reason."""
    inherited_env = {
        name: value
        for name, value in os.environ.items()
        if name not in (*ENV_MARKERS, LEASE_FD_VARIABLE)
    }
    # A separate pipe: asyncio would wait for every process that has inherited its own pipe.
    read_fd, write_fd = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=write_fd,
            env={**inherited_env, **env},
            start_new_session=True,
            cwd="/",
        )
    except (OSError, ValueError) as error:
        os.close(read_fd)
        reason = error.strerror if isinstance(error, OSError) else None
        return f"cannot be started: {(reason or str(error)).lower()}"
    finally:
        os.close(write_fd)
    return await _communicate(process, _StderrTail(read_fd), stdin_data, timeout_s)


async def _communicate(
    process: asyncio.subprocess.Process,
    stderr_tail: _StderrTail,
    stdin_data: bytes,
    timeout_s: float,
) -> str | None:
    await stderr_tail.connect()
    try:
        async with asyncio.timeout(timeout_s):
            await _write_stdin(process, stdin_data)
            code = await process.wait()
            if code:
                await stderr_tail.wait_closed()
    except TimeoutError:
        return f"did not end within {timeout_s:g} s"
    finally:
        stderr_tail.close()
        if process.returncode is None:  # not reaped yet, so its PID cannot be reused
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code == 0:
        return None
    stderr_text = sanitize_text(
        stderr_tail.tail.decode("utf-8", "replace").strip(), MAX_STDERR_BYTES
    )
    return f"exit code {code}" + (f": {stderr_text}" if stderr_text else "")


async def _write_stdin(process: asyncio.subprocess.Process, stdin_data: bytes) -> None:
    """Write to the command's standard input. A command that does not read it is not an error."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin_data)
        await process.stdin.drain()
    process.stdin.close()


class _StderrTail(asyncio.Protocol):
    """The last `MAX_STDERR_BYTES` of a command's standard error; the rest is discarded."""

    def __init__(self, descriptor: int) -> None:
        self.tail = b""
        self._pipe = os.fdopen(descriptor, "rb", buffering=0)
        self._closed = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: self, self._pipe)

    def data_received(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-MAX_STDERR_BYTES:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    async def wait_closed(self) -> None:
        """Wait at most `STDERR_TIMEOUT_S` for the pipe's end: other processes may keep it open."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STDERR_TIMEOUT_S):
                await self._closed.wait()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
