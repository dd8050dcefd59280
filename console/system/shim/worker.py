"""Starts a worker under its lock, and reaps it.

A shim runs this module with a bare interpreter. There is one shim for each worker, so the shim
imports nothing else of the project, and little of the standard library, until its worker is dead.

The worker inherits the life lock. The lock is therefore held by two processes: it stays held when
either of them dies, or when the worker closes all its descriptors. The start lock is released when
the worker's program begins.

The child writes the owner record itself, before it calls exec. A worker therefore has a record even
if its shim or its caller is killed at any time.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time

TYPE_CHECKING = False  # importing `typing` costs 1 MB per shim
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_CHANGED_SIGNALS = (
    signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM,
)  # fmt: skip
"""Signals whose handling Python or the shim changes; a worker starts with the defaults."""
_INHERITED_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_S_IFMT, _S_IFREG = 0o170000, 0o100000
EXEC_TIMEOUT_S = 10.0
"""Time for the child to call exec. A mount that does not answer can exceed it."""


class Worker:
    """One worker process, from its start to its death."""

    def __init__(self, spec: dict[str, Any], lease_fd: int, start_lock_fd: int = -1) -> None:
        self.spec, self.lease_fd, self.start_lock_fd = spec, lease_fd, start_lock_fd
        self.pid, self.identity, self.wait_status = 0, "", -1
        self.is_dead = False
        self.started = read_clocks()
        self.stderr_offset = 0
        self.oom_kills_at_start = count_oom_kills()

    def start(self, report_fd: int) -> None:
        """Start the worker in a session of its own. Raises OSError, ValueError."""
        spec = self.spec
        stdout_fd, stderr_fd = (open_log(spec["logs"][stream]) for stream in ("out", "err"))
        self.stderr_offset = os.fstat(stderr_fd).st_size
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        shim_identity = read_identity(os.getpid(), spec["boot"])
        self.started = read_clocks()
        # Block signals until exec: the shim's handlers must not handle a signal to the worker.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            self._exec_in_child(shim_identity, stdout_fd, stderr_fd, write_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for descriptor in (stdout_fd, stderr_fd, write_fd):
            os.close(descriptor)
        # The pipe is closed when the child calls exec or dies.
        failure = read_until_eof(read_fd, EXEC_TIMEOUT_S)
        if self.start_lock_fd >= 0 and not spec["machine"]:
            os.close(self.start_lock_fd)  # the worker is now visible in the process table
        if failure is None:
            os.kill(pid, signal.SIGKILL)
            path = spec["cwd"] or spec["command"][0]
            send_report(report_fd, f"failed {path} does not answer")
            failure = b"does not answer"  # keep the lease until the child is gone
        if failure:
            os.waitpid(pid, 0)
            raise ValueError(failure.decode("utf-8", "replace"))
        self.pid, self.identity = pid, read_identity(pid, spec["boot"])

    def _exec_in_child(
        self, shim_identity: str, stdout_fd: int, stderr_fd: int, error_fd: int
    ) -> None:
        """Write the owner and worker records, then exec the worker. Runs in the child."""
        spec, owner_written = self.spec, False
        program, failed_program = spec["command"][0], None
        try:
            os.setsid()
            for signum in _CHANGED_SIGNALS:
                signal.signal(signum, signal.SIG_DFL)
            os.dup2(stdout_fd, 1)
            os.dup2(stderr_fd, 2)
            self._write_owner(shim_identity)
            owner_written = True
            self._write_record(spec["record"])
            if spec["account"]:
                uid, gid, groups = spec["account"]
                os.setgroups(groups)
                os.setgid(gid)
                os.setuid(uid)
                self._write_user_record(spec["records"])
            os.chdir(spec["cwd"] or "/")
            failed_program = program
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            environment = inherited_environment(os.environ) if spec["account"] else os.environ
            env = {**environment, **spec["env"], "RPA_CONSOLE_LEASE_FD": str(self.lease_fd)}
            os.execvpe(program, spec["command"], env)
        except (OSError, ValueError) as error:
            send_report(error_fd, error_text(error, failed_program))
            if owner_written:  # the owner record was written, but the worker did not start
                os.unlink(spec["owner"])
        finally:
            os._exit(127)

    def reap(self) -> bool:
        """Reap dead children, including adopted orphans. Return True if the worker is dead."""
        while not self.is_dead:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == self.pid:
                self.wait_status, self.is_dead = status, True
        return self.is_dead

    def _write_owner(self, shim_identity: str) -> None:
        """Write the owner record beside the lock. The lock is the proof, the record is not.

        Raises OSError.
        """
        spec, lock = self.spec, os.fstat(self.lease_fd)
        started_at, tick = self.started
        replace_file(
            spec["owner"],
            f'{{"identity": "{read_identity(os.getpid(), spec["boot"])}",'
            f' "shim": "{shim_identity}",'
            f' "token": {spec["token"]}, "since": [{started_at!r}, {tick!r}, "{spec["boot"]}"],'
            f' "actor": {spec["actor_json"]}, "lock": [{lock.st_dev}, {lock.st_ino}]}}',
        )

    def _write_user_record(self, directories: list[str]) -> None:
        """Write the worker record in the first usable directory of the worker's own user."""
        for directory in directories:
            try:
                os.makedirs(directory, 0o700, exist_ok=True)
            except OSError:
                continue
            if self._write_record(directory):
                return

    def _write_record(self, directory: str) -> bool:
        """Write the worker record, which other boxes read. Return True if it was written.

        If that fails, other boxes still find the worker by its role's match.
        """
        if not directory:
            return False
        identity = read_identity(os.getpid(), self.spec["boot"])
        pid, ticks, _ = identity.split(":", 2)
        try:
            path = f"{directory}/{pid}.{ticks}.json"
            replace_file(path, f'{{"identity": "{identity}", {self.spec["entry"]}')
        except OSError:
            return False
        return True


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of root's environment for another user's worker, without any secrets."""
    return {key: value for key, value in environment.items() if key in _INHERITED_VARIABLES}


def replace_file(path: str, text: str) -> None:
    """Replace a small file atomically. Raises OSError.

    If that fails, overwrite the file in place, which works on a full disk.
    """
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
    """Return the error's text, preceded by `program` or by the file that the error names."""
    if isinstance(error, OSError):
        return f"{program or error.filename}: {error.strerror}"
    return str(error)


def read_clocks() -> tuple[float, float]:
    """Return (wall-clock time, seconds since boot). Only the second clock cannot be set."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


def read_identity(pid: int, boot_id: str) -> str:
    """Return a process's identity as text, `PID:TICKS:BOOT`. Raises OSError."""
    return f"{pid}:{read_stat(pid)[1]}:{boot_id}"


def read_stat(pid: int) -> tuple[int, int]:
    """Return (parent's PID, start ticks) of a process. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        raw = file.read()
    fields = raw[raw.rfind(b")") + 2 :].split()
    return int(fields[1]), int(fields[19])


def count_oom_kills() -> int:
    """Return how many processes of this control group the OOM killer has ended; 0 if unknown."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            cgroups = [line.rstrip("\n").split(":", 2) for line in file]
        for hierarchy, controllers, cgroup_path in cgroups:
            counter = {"": "memory.events", "memory": "memory.oom_control"}.get(controllers)
            counter_path = (
                f"/sys/fs/cgroup{'' if hierarchy == '0' else '/memory'}{cgroup_path}/{counter}"
            )
            if counter and os.path.exists(counter_path):
                with open(counter_path, encoding="ascii") as file:
                    return sum(int(line.split()[1]) for line in file if line[:9] == "oom_kill ")
    except (OSError, ValueError, IndexError):
        pass
    return 0


def open_log(path: str) -> int:
    """Return a descriptor that appends to a regular file. Symbolic links are not followed.

    A named pipe is refused, because it would block the shim, which holds the lease. Raises OSError,
    ValueError.
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


def read_until_eof(descriptor: int, timeout_s: float) -> bytes | None:
    """Read a pipe to its end and close it. Return the data, or None after `timeout_s`."""
    raw, deadline = b"", read_clocks()[1] + timeout_s
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    try:
        while poll.poll(max(0.0, deadline - read_clocks()[1]) * 1000):
            if not (chunk := os.read(descriptor, 65_536)):
                return raw
            raw += chunk
        return None
    finally:
        os.close(descriptor)


def send_report(report_fd: int, line: str) -> None:
    """Write one report line to the caller. Ignore errors: the caller may be gone."""
    try:
        os.write(report_fd, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")
    except OSError:
        pass
