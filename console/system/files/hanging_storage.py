"""File operations with a timeout, for storage that may hang: network and FUSE mounts.

A system call on a mount whose server is gone does not return, and on FUSE even SIGKILL does not
end it. A thread that makes such a call keeps its process from ending, and the process keeps its
descriptors and locks. Operations on such mounts therefore run in a short-lived process of their
own. At most one operation is pending for each directory. After a timeout, the directory is not
accessed again until that operation has ended and `RETRY_DELAY_S` have passed.

On a local file system the operation runs directly in the calling thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from console.core.processes.instances import ENV_MARKERS
from console.core.text.formatting import format_duration
from console.system import clock
from console.system.files.safe_files import FileError, FileProblem
from console.system.path_resolution import walk_path
from console.system.paths import find_mount, remote_mounts

OPERATION_TIMEOUT_S = 2.0
RETRY_DELAY_S = 10.0
_PID_DIGITS = 20
ROLE_VARIABLE = ENV_MARKERS[1]


class StorageTimeoutError(FileError):
    """A directory does not respond. The message names it, its mount and the duration."""

    def __init__(self, message: str) -> None:
        super().__init__(FileProblem.NOT_RESPONDING)
        self.args = (message,)


class RemoteDirectory:
    """One directory on remote storage, with its pending operation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._unresponsive_since: float | None = None
        self._last_call_at = 0.0
        self._pending_pipe: int | None = None
        """The result pipe of the pending operation: end of file means that it has ended."""

    def unresponsive_message(self) -> str | None:
        """Return the message for a directory that does not respond; None while it responds."""
        since = self._unresponsive_since
        return None if since is None else self._format_message(clock.tick() - since)

    def _format_message(self, seconds: float) -> str:
        mount, kind = find_mount(self.name) or (self.name, "?")
        return (
            f"{self.name} does not answer since {format_duration(seconds)} (mount {mount}, {kind})"
        )

    def call(self, operation: Callable[..., Any], args: tuple[Any, ...], timeout_s: float) -> Any:
        """Run `operation` in a process of its own. Raises StorageTimeoutError, FileError."""
        if not self._lock.acquire(timeout=timeout_s):
            raise StorageTimeoutError(self._format_message(timeout_s))
        try:
            if self._must_wait():
                raise StorageTimeoutError(self.unresponsive_message() or self._format_message(0.0))
            self._last_call_at = clock.tick()
            reading = _spawn_operation(operation, args)
            raw, over = _read_pipe(reading, timeout_s)
            if not over:
                _kill_operation(raw)
                self._pending_pipe = reading
                self._unresponsive_since = self._unresponsive_since or self._last_call_at
                raise StorageTimeoutError(
                    self._format_message(clock.tick() - self._unresponsive_since)
                )
            os.close(reading)
            self._unresponsive_since = None
        finally:
            self._lock.release()
        return _decode_result(raw)

    def _must_wait(self) -> bool:
        """Return True while an operation is pending, or for `RETRY_DELAY_S` after a timeout."""
        if self._pending_pipe is not None:
            if not _read_pipe(self._pending_pipe, 0.0)[1]:
                return True
            os.close(self._pending_pipe)
            self._pending_pipe = None
        return (
            self._unresponsive_since is not None
            and clock.tick() - self._last_call_at < RETRY_DELAY_S
        )


_remote_directories: dict[str, RemoteDirectory] = {}


def call(
    directory: str,
    operation: Callable[..., Any],
    *args: Any,
    timeout_s: float = OPERATION_TIMEOUT_S,
) -> Any:
    """Return `operation(*args)`, which accesses files below `directory`.

    `marshal` must be able to serialize the result. Raises StorageTimeoutError, and each FileError
    that `operation` raises.
    """
    if not is_remote(directory):
        _remote_directories.pop(directory, None)  # its hung mount was unmounted
        return operation(*args)
    return _remote_directories.setdefault(directory, RemoteDirectory(directory)).call(
        operation, args, timeout_s
    )


def unresponsive_messages(retry: bool = False) -> tuple[str, ...]:
    """Return a message for each directory that this process accessed and that does not respond.

    `retry`: access each of them again, if its retry delay has passed.
    """
    for name, directory in tuple(_remote_directories.items()):
        if retry and directory.unresponsive_message():
            with suppress(FileError):
                call(name, _list_directory, name)
    return tuple(
        filter(
            None,
            (directory.unresponsive_message() for directory in tuple(_remote_directories.values())),
        )
    )


def _list_directory(name: str) -> None:
    with suppress(OSError):
        os.listdir(name)


def is_remote(path: str) -> bool:
    """Return True if a path lies on, or leads through links to, storage that may hang.

    The check accesses no file on such storage.
    """
    mounts = remote_mounts()
    if not mounts:
        return False
    absolute_path = path if path.startswith("/") else os.path.join(os.getcwd(), path)
    with suppress(OSError):  # a loop of links: the operation reports it
        for reached in walk_path(absolute_path):
            if any(reached == mount or reached.startswith(f"{mount}/") for mount in mounts):
                return True
    return False


# --- a process for one operation ----------------------------------------------------------------


def _spawn_operation(operation: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Run `operation` in a grandchild. Return the read end of its result pipe.

    The child between them exits at once, so a hanging operation is outside the caller's process
    tree, and another process reaps it. Raises FileError.
    """
    import marshal
    import signal  # both before the fork: another thread may be importing something

    if has_role := ROLE_VARIABLE in os.environ:
        import ctypes

    def become() -> None:
        if has_role:
            _overwrite_role_variable(ctypes.memmove)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _run_in_grandchild(operation, args, writing, marshal.dumps)

    try:
        reading, writing = os.pipe()
        try:
            child = os.fork()
            if child == 0:
                become()
        finally:
            os.close(writing)
    except OSError as error:
        raise FileError(FileProblem.FAILED, (error.strerror or str(error)).lower()) from None
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
    return reading


def _run_in_grandchild(
    operation: Callable[..., Any],
    args: tuple[Any, ...],
    write_fd: int,
    dumps: Callable[[tuple[Any, ...]], bytes],
) -> None:
    """Run `operation` in the child, with no descriptor of the parent but the pipe; then exit."""
    try:
        os.dup2(write_fd, 3)
        os.closerange(4, 1 << 20)  # above all, the lease
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # a reader of the caller's output waits for the last close
            os.dup2(null, standard)
        os.close(null)
        if os.fork():
            os._exit(0)
        os.setsid()
        os.write(3, b"%0*d" % (_PID_DIGITS, os.getpid()))
        try:
            answer: tuple[Any, ...] = (True, operation(*args))
        except FileError as error:
            answer = (False, error.problem.value, str(error))
        except Exception as error:
            answer = (False, FileProblem.FAILED.value, f"{type(error).__name__}: {error}")
        raw = dumps(answer)
        while raw:
            raw = raw[os.write(3, raw) :]
    finally:
        os._exit(0)


def _overwrite_role_variable(memmove: Callable[[int, bytes, int], object]) -> None:
    """Overwrite the child's role in `/proc/self/environ`.

    A stop of the daemon ends each process whose environment has the daemon's markers, and waits
    for it.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    text = f"{ROLE_VARIABLE}=storage".encode()
    if end - start > len(text):
        memmove(start, text.ljust(end - start, b"\0"), end - start)


def _read_pipe(descriptor: int, timeout_s: float) -> tuple[bytes, bool]:
    """Read the pipe until its end or the timeout. Return the bytes, and True at its end."""
    import select

    raw, deadline = b"", clock.tick() + timeout_s
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while poll.poll(max(0.0, deadline - clock.tick()) * 1000):
        if not (chunk := os.read(descriptor, 1 << 16)):
            return raw, True
        raw += chunk
    return raw, False


def _kill_operation(raw: bytes) -> None:
    """Kill the process whose PID begins `raw`. Its pipe is still open, so it is still alive."""
    if len(raw) >= _PID_DIGITS:
        with suppress(OSError):
            os.kill(int(raw[:_PID_DIGITS]), 9)


def _decode_result(raw: bytes) -> Any:
    import marshal

    try:
        answer = marshal.loads(raw[_PID_DIGITS:])
    except (ValueError, EOFError, TypeError):
        raise FileError(FileProblem.FAILED, "the process that was to do it was ended") from None
    if answer[0]:
        return answer[1]
    error = FileError(FileProblem(answer[1]))
    error.args = (answer[2],)
    raise error
