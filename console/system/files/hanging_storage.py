"""Files on storage that may stop answering: network and FUSE mounts.

A system call on a mount whose server is gone does not return, and on FUSE even SIGKILL does not
end it. A thread that makes one keeps its process from ending, with every descriptor and lock that
the process holds. Operations on such mounts therefore run in a short-lived process of their own.
At most one operation is outstanding for each place. A place that has not answered in time is not
asked again before that operation has ended and `RETRY_S` have passed.

On a local file system the operation runs directly in the calling thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from console.core.processes.instances import MARKS
from console.core.text.formatting import duration
from console.system import clock
from console.system.files.safe_files import FileError, Problem
from console.system.path_resolution import walk
from console.system.paths import mount_of, remote_mounts

PATIENCE_S = 2.0
RETRY_S = 10.0
_PID_WIDTH = 20
ROLE = MARKS[1]


class NoAnswer(FileError):
    """A place does not answer: the message names it, its mount, and since when."""

    def __init__(self, words: str) -> None:
        super().__init__(Problem.SILENT)
        self.args = (words,)


class Place:
    """One directory on such storage, and the operation that is outstanding there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._turn = threading.Lock()
        self._silent_since: float | None = None
        self._asked = 0.0
        self._outstanding: int | None = None
        """The pipe whose end tells that the outstanding operation has ended."""

    def silent(self) -> str | None:
        """What is to be said while the place does not answer; None while it does."""
        since = self._silent_since
        return None if since is None else self._words(clock.tick() - since)

    def _words(self, seconds: float) -> str:
        mount, kind = mount_of(self.name) or (self.name, "?")
        return f"{self.name} does not answer since {duration(seconds)} (mount {mount}, {kind})"

    def call(self, work: Callable[..., Any], args: tuple[Any, ...], patience_s: float) -> Any:
        """Run `work` in a process of its own. Raises NoAnswer, FileError."""
        if not self._turn.acquire(timeout=patience_s):
            raise NoAnswer(self._words(patience_s))
        try:
            if self._waits():
                raise NoAnswer(self.silent() or self._words(0.0))
            self._asked = clock.tick()
            reading = _spawn(work, args)
            raw, over = _read(reading, patience_s)
            if not over:
                _kill(raw)
                self._outstanding = reading
                self._silent_since = self._silent_since or self._asked
                raise NoAnswer(self._words(clock.tick() - self._silent_since))
            os.close(reading)
            self._silent_since = None
        finally:
            self._turn.release()
        return _result(raw)

    def _waits(self) -> bool:
        """Whether the place must not be asked now: an operation is outstanding, or just failed."""
        if self._outstanding is not None:
            if not _read(self._outstanding, 0.0)[1]:
                return True
            os.close(self._outstanding)
            self._outstanding = None
        return self._silent_since is not None and clock.tick() - self._asked < RETRY_S


_places: dict[str, Place] = {}


def call(
    directory: str, work: Callable[..., Any], *args: Any, patience_s: float = PATIENCE_S
) -> Any:
    """`work(*args)`, which touches files below `directory`; `marshal` must know the result.

    Raises NoAnswer, and whatever FileError `work` raises.
    """
    if not is_remote(directory):
        _places.pop(directory, None)  # a mount that did not answer is gone
        return work(*args)
    return _places.setdefault(directory, Place(directory)).call(work, args, patience_s)


def silent(retry: bool = False) -> tuple[str, ...]:
    """What is to be said of each place that this process has asked and that does not answer.

    `retry`: ask each of them again, where its time has come.
    """
    for name, one in tuple(_places.items()):
        if retry and one.silent():
            with suppress(FileError):
                call(name, _look, name)
    return tuple(filter(None, (one.silent() for one in tuple(_places.values()))))


def _look(name: str) -> None:
    with suppress(OSError):
        os.listdir(name)


def is_remote(path: str) -> bool:
    """Whether a path lies on, or leads through links to, storage that may stop answering.

    No file on such storage is touched to find out.
    """
    mounts = remote_mounts()
    if not mounts:
        return False
    whole = path if path.startswith("/") else os.path.join(os.getcwd(), path)
    with suppress(OSError):  # a loop of links: the operation itself reports it
        for reached in walk(whole):
            if any(reached == one or reached.startswith(f"{one}/") for one in mounts):
                return True
    return False


# --- a process for one operation ----------------------------------------------------------------


def _spawn(work: Callable[..., Any], args: tuple[Any, ...]) -> int:
    """Run `work` in a grandchild; a descriptor on which its result is read.

    The child between them ends at once: an operation that hangs is then no part of the caller's
    process tree, and another process reaps it.
    """
    import marshal
    import signal  # both before the fork: another thread may be importing something

    if marked := ROLE in os.environ:
        import ctypes

    def become() -> None:
        if marked:
            _disown(ctypes.memmove)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        _become(work, args, writing, marshal.dumps)

    try:
        reading, writing = os.pipe()
        try:
            child = os.fork()
            if child == 0:
                become()
        finally:
            os.close(writing)
    except OSError as error:
        raise FileError(Problem.FAILED, (error.strerror or str(error)).lower()) from None
    with suppress(ChildProcessError):
        os.waitpid(child, 0)
    return reading


def _become(
    work: Callable[..., Any],
    args: tuple[Any, ...],
    writing: int,
    dumps: Callable[[tuple[Any, ...]], bytes],
) -> None:
    """In the child: keep nothing of the parent but memory and the pipe, do the work, end."""
    try:
        os.dup2(writing, 3)
        os.closerange(4, 1 << 20)  # above all, no lease
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):  # a reader of the caller's output waits until all have closed it
            os.dup2(nowhere, standard)
        os.close(nowhere)
        if os.fork():
            os._exit(0)
        os.setsid()
        os.write(3, b"%0*d" % (_PID_WIDTH, os.getpid()))
        try:
            answer: tuple[Any, ...] = (True, work(*args))
        except FileError as error:
            answer = (False, error.problem.value, str(error))
        except Exception as error:
            answer = (False, Problem.FAILED.value, f"{type(error).__name__}: {error}")
        raw = dumps(answer)
        while raw:
            raw = raw[os.write(3, raw) :]
    finally:
        os._exit(0)


def _disown(memmove: Callable[[int, bytes, int], object]) -> None:
    """In the child: show another role in `/proc/self/environ` than that of the parent.

    A process that bears the daemon's marks is ended, and waited for, together with the daemon.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])
    text = f"{ROLE}=storage".encode()
    if end - start > len(text):
        memmove(start, text.ljust(end - start, b"\0"), end - start)


def _read(descriptor: int, patience_s: float) -> tuple[bytes, bool]:
    """What the pipe holds until its end or until the patience is over, and whether it has ended."""
    import select

    raw, deadline = b"", clock.tick() + patience_s
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while poll.poll(max(0.0, deadline - clock.tick()) * 1000):
        if not (chunk := os.read(descriptor, 1 << 16)):
            return raw, True
        raw += chunk
    return raw, False


def _kill(raw: bytes) -> None:
    """End the process that has named itself so. Its pipe is still open, so it still lives."""
    if len(raw) >= _PID_WIDTH:
        with suppress(OSError):
            os.kill(int(raw[:_PID_WIDTH]), 9)


def _result(raw: bytes) -> Any:
    import marshal

    try:
        answer = marshal.loads(raw[_PID_WIDTH:])
    except (ValueError, EOFError, TypeError):
        raise FileError(Problem.FAILED, "the process that was to do it was ended") from None
    if answer[0]:
        return answer[1]
    error = FileError(Problem(answer[1]))
    error.args = (answer[2],)
    raise error
