"""Starts a worker under its lock, and knows what became of it.

A shim runs this module with a bare interpreter: there is one shim for each worker, so it imports
nothing else of the project, and little of the standard library, until its worker is dead.

The worker inherits the life lock. Two processes therefore hold it: it outlives either of them, and
a worker that closes all descriptors. The start lock ends when the worker's program begins.

The child writes the owner record itself, before it becomes the worker. A worker therefore has a
record whenever its shim or its caller is killed.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

TYPE_CHECKING = False  # `typing` costs a shim a megabyte
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_CHANGED_SIGNALS = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM,
)  # fmt: skip
"""Signals that Python or the shim handles, and that a worker finds at their defaults."""
_INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_S_IFMT, _S_IFREG = 0o170000, 0o100000
EXEC_TIMEOUT_S = 10.0
"""Time for a child to become the worker. A mount that hangs can exceed it."""


class Worker:
    """The worker's life, from the first instruction to the certificate."""

    def __init__(self, spec: dict[str, Any], lease: int, start_lock: int = -1) -> None:
        self.spec, self.lease, self.start_lock = spec, lease, start_lock
        self.pid, self.identity, self.status = 0, "", -1
        self.dead = False
        self.started = moment()
        self.err_start = 0
        self.oom_kills = oom_kills()

    def start(self, status: int) -> None:
        """Start it in a session of its own. Raises OSError, ValueError."""
        spec = self.spec
        out, err = (open_log(spec["logs"][stream]) for stream in ("out", "err"))
        self.err_start = os.fstat(err).st_size
        reading, writing = os.pipe2(os.O_CLOEXEC)
        shim = identity(os.getpid(), spec["boot"])
        self.started = moment()
        # No signal in between: what is meant for the worker must not be taken for ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            self._exec_in_child(shim, out, err, writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for descriptor in (out, err, writing):
            os.close(descriptor)
        failure = heard(reading, EXEC_TIMEOUT_S)  # until it has become the worker, or is dead
        if self.start_lock >= 0 and not spec["machine"]:
            os.close(self.start_lock)  # from here on the process table shows the worker
        if failure is None:
            os.kill(pid, signal.SIGKILL)
            place = spec["cwd"] or spec["command"][0]
            report(status, f"failed {place} does not answer")
            failure = b"does not answer"  # the lease is kept until the child is gone
        if failure:
            os.waitpid(pid, 0)
            raise ValueError(failure.decode("utf-8", "replace"))
        self.pid, self.identity = pid, identity(pid, spec["boot"])

    def _exec_in_child(self, shim: str, out: int, err: int, failing: int) -> None:
        """In the child: write who we are, then be the worker."""
        spec, named = self.spec, False
        program, at = spec["command"][0], None
        try:
            os.setsid()
            for number in _CHANGED_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.dup2(out, 1)
            os.dup2(err, 2)
            self._write_owner(shim)
            named = True
            self._write_record(spec["record"])
            if spec["account"]:
                user, group, groups = spec["account"]
                os.setgroups(groups)
                os.setgid(group)
                os.setuid(user)
                self._write_first(spec["records"])
            os.chdir(spec["cwd"] or "/")
            at = program
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            own = passed_on(os.environ) if spec["account"] else os.environ
            env = {**own, **spec["env"], "RPA_CONSOLE_LEASE_FD": str(self.lease)}
            os.execvpe(program, spec["command"], env)
        except (OSError, ValueError) as error:
            report(failing, error_text(error, at))
            if named:  # after a worker that never was
                os.unlink(spec["owner"])
        finally:
            os._exit(127)

    def reap(self) -> bool:
        """Collect the dead, adopted orphans included; True once the worker is among them."""
        while not self.dead:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == self.pid:
                self.status, self.dead = status, True
        return self.dead

    def _write_owner(self, shim: str) -> None:
        """Say beside the lock who holds it: information, never proof. Raises OSError."""
        spec, lock = self.spec, os.fstat(self.lease)
        at, tick = self.started
        put(
            spec["owner"],
            f'{{"identity": "{identity(os.getpid(), spec["boot"])}", "shim": "{shim}",'
            f' "token": {spec["token"]}, "since": [{at!r}, {tick!r}, "{spec["boot"]}"],'
            f' "actor": {spec["actor_json"]}, "lock": [{lock.st_dev}, {lock.st_ino}]}}',
        )

    def _write_first(self, places: list[str]) -> None:
        """Record the worker for the boxes of its own user as well, where that user has room."""
        for place in places:
            try:
                os.makedirs(place, 0o700, exist_ok=True)
            except OSError:
                continue
            if self._write_record(place):
                return

    def _write_record(self, place: str) -> bool:
        """Record the worker for other boxes. Where that fails, its match tells it."""
        if not place:
            return False
        own = identity(os.getpid(), self.spec["boot"])
        pid, ticks, _ = own.split(":", 2)
        try:
            path = f"{place}/{pid}.{ticks}.json"
            put(path, f'{{"identity": "{own}", {self.spec["entry"]}')
        except OSError:
            return False
        return True


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What another user's worker inherits of root's environment: nothing that may be a secret."""
    return {key: value for key, value in environment.items() if key in _INHERITED_VARIABLES}


def put(path: str, text: str) -> None:
    """Replace a small file; a full disk takes it written over the old one. Raises OSError."""
    draft = f"{path}.{os.getpid()}"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)
        with open(path, "r+", encoding="utf-8") as file:
            file.write(text.ljust(os.fstat(file.fileno()).st_size))


def error_text(error: OSError | ValueError, program: str | None = None) -> str:
    """What went wrong, with what: with `program`, or with the file that the error names."""
    if isinstance(error, OSError):
        return f"{program or error.filename}: {error.strerror}"
    return str(error)


def moment() -> tuple[float, float]:
    """Now, by the clock for people and by the one that nobody can set."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


def identity(pid: int, boot: str) -> str:
    """A process as the project writes identities. Raises OSError."""
    return f"{pid}:{stat(pid)[1]}:{boot}"


def stat(pid: int) -> tuple[int, int]:
    """(parent, start ticks) of a process. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        raw = file.read()
    fields = raw[raw.rfind(b")") + 2 :].split()
    return int(fields[1]), int(fields[19])


def oom_kills() -> int:
    """How often the kernel has ended something in our control group for want of memory."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
        for number, kind, path in groups:
            counter = {"": "memory.events", "memory": "memory.oom_control"}.get(kind)
            place = f"/sys/fs/cgroup{'' if number == '0' else '/memory'}{path}/{counter}"
            if counter and os.path.exists(place):
                with open(place, encoding="ascii") as file:
                    return sum(int(line.split()[1]) for line in file if line[:9] == "oom_kill ")
    except (OSError, ValueError, IndexError):
        pass
    return 0


def open_log(path: str) -> int:
    """A descriptor that appends to a regular file, and follows no link. Raises OSError.

    A named pipe would block the shim, which holds the lease.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a pipe without a reader
            raise
        raise ValueError(f"{path}: is not a regular file") from None
    if os.fstat(descriptor).st_mode & _S_IFMT != _S_IFREG:
        os.close(descriptor)
        raise ValueError(f"{path}: is not a regular file")
    os.set_blocking(descriptor, True)
    return descriptor


def heard(descriptor: int, seconds: float) -> bytes | None:
    """What a pipe holds until its end; None when the end does not come in time."""
    raw, ends = b"", moment()[1] + seconds
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    try:
        while poll.poll(max(0.0, ends - moment()[1]) * 1000):
            if not (chunk := os.read(descriptor, 65_536)):
                return raw
            raw += chunk
        return None
    finally:
        os.close(descriptor)


def report(status: int, line: str) -> None:
    """Tell the caller, who may be gone."""
    try:
        os.write(status, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")
    except OSError:
        pass
