"""A person's own command, told something on its standard input: bounded in time, alone in a group.

It can hang, fail, fork or talk for ever: none of that reaches the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from console.core.instances import LEASE_FD_VARIABLE, MARKS
from console.core.text import visible

_WORDS, _LAST_WORDS_S = 300, 0.2


async def call(
    command: Sequence[str], told: bytes, env: Mapping[str, str], timeout_s: float
) -> str | None:
    """Run the command to its end; None when it has succeeded, otherwise why it has not."""
    kept = {k: v for k, v in os.environ.items() if k not in (*MARKS, LEASE_FD_VARIABLE)}
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**kept, **env},
            start_new_session=True,
            cwd="/",
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return f"cannot be started: {(reason or str(error)).lower()}"
    words = asyncio.create_task(_words(process))
    try:
        async with asyncio.timeout(timeout_s):
            await _tell(process, told)
            code = await process.wait()
    except TimeoutError:
        return f"did not end within {timeout_s:g} s"
    finally:
        await _end(process, words)
    if code == 0:
        return None
    said = words.result() if words.done() and not words.cancelled() else ""
    return f"exit code {code}" + (f": {said}" if said else "")


async def _tell(process: asyncio.subprocess.Process, told: bytes) -> None:
    """Write to its standard input; one that does not read it is none the worse."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(told)
        await process.stdin.drain()
    process.stdin.close()


async def _words(process: asyncio.subprocess.Process) -> str:
    """The end of what it says on standard error; the rest is read and forgotten."""
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(65_536):
        kept = (kept + chunk)[-_WORDS:]
    return visible(kept.decode("utf-8", "replace").strip(), _WORDS)


async def _end(process: asyncio.subprocess.Process, words: asyncio.Task[str]) -> None:
    """End what has not ended, with its whole group; let go of pipes that others may still hold."""
    if process.returncode is None:  # not yet reaped: its number is still its own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    try:
        await process.wait()
        await asyncio.wait([words], timeout=_LAST_WORDS_S)
    finally:
        words.cancel()
        process._transport.close()  # type: ignore[attr-defined]
