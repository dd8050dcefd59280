"""The shim: one small process per worker, which holds the lease with it and sees it die.

Run as a plain script (`python -I -S shim.py ROLE SPEC STATUS LEASE`), it imports nothing of the
project until its worker is dead, and little else: there is one for each worker. `SPEC`, `STATUS`
and `LEASE` are descriptors: what to run (marshal), where to report to the caller, and the lock
itself, which the worker inherits. So the lock is held by two: it survives the death of either, and
a worker that closes all descriptors.

Reports, a line each: `started IDENTITY`, then `settled` or `exited REASON`; or `failed REASON`.
"""

from __future__ import annotations

import ctypes
import fcntl
import marshal
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # as `typing` has it, which costs a megabyte
if TYPE_CHECKING:
    from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_BUSY_S, _QUIET_S = 0.25, 1.0
_AFTER_KILL_S = 5.0


class Worker:
    """The worker's life, from the first instruction to the certificate."""

    def __init__(self, spec: dict[str, Any], lease: int) -> None:
        self.spec, self.lease = spec, lease
        self.pid, self.ticks, self.status = 0, 0, -1
        self.dead = False
        self.started = moment()
        self.err_start = 0
        self.oom_kills = oom_kills()

    def start(self) -> None:
        """Start it in a session of its own. Raises OSError, ValueError."""
        spec = self.spec
        # In our own environment too: there the program is looked for along the worker's PATH.
        os.environ.update(spec["env"], RPA_CONSOLE_LEASE_FD=str(self.lease))
        out, err = (open_log(spec["logs"][stream]) for stream in ("out", "err"))
        self.err_start = os.fstat(err).st_size
        os.chdir(spec["cwd"] or "/")
        self.pid = os.posix_spawnp(
            spec["command"][0],
            spec["command"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGTERM],
        )
        os.chdir("/")
        os.close(out)
        os.close(err)
        self.started = moment()
        self.ticks = stat(self.pid)[1]

    @property
    def identity(self) -> str:
        """As the project writes identities."""
        return f"{self.pid}:{self.ticks}:{self.spec['boot']}"

    def reap(self) -> bool:
        """Collect the dead, adopted orphans included; True once the worker is among them."""
        while not self.dead:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == self.pid:
                self.status, self.dead = status, True
        return self.dead

    def write_owner(self) -> None:
        """Say beside the lock who holds it: information, never proof. Raises OSError."""
        spec, lock = self.spec, os.fstat(self.lease)
        own = f"{os.getpid()}:{stat(os.getpid())[1]}:{spec['boot']}"
        at, tick = self.started
        put(
            spec["owner"],
            f'{{"identity": "{self.identity}", "shim": "{own}", "token": {spec["token"]},'
            f' "since": [{at!r}, {tick!r}, "{spec["boot"]}"], "actor": {spec["actor_json"]},'
            f' "lock": [{lock.st_dev}, {lock.st_ino}]}}',
        )


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


def moment() -> tuple[float, float]:
    """Now, by the clock for people and by the one that nobody can set."""
    return time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)


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
    """A descriptor that appends, and follows no link. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def rotate(path: str, limit: int) -> int:
    """Keep the newest `limit` bytes of a log that has grown past it as `.1`; its size now.

    The worker's descriptor appends, so it goes on writing at the new end: no pipe that could
    break or block it when the shim dies.
    """
    try:
        with open(path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= limit:
                return size
            file.seek(-limit, os.SEEK_END)
            with open(f"{path}.1", "wb") as old:
                old.write(file.read(limit))
            file.truncate(0)
    except OSError:
        pass
    return 0


def report(status: int, line: str) -> None:
    """Tell the caller, who may be gone."""
    try:
        os.write(status, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")
    except OSError:
        pass


def wait(worker: Worker, wake: int, status: int) -> int:
    """Until the worker is dead: bound its logs, report that it settled, obey SIGTERM.

    The descriptor for reports, or -1 when it has said all.
    """
    spec = worker.spec
    now = moment()[1]
    settle, check, ending, sizes = now + spec["settle_s"], now + _BUSY_S, 0.0, [0]
    while not worker.reap():
        now = moment()[1]
        if status >= 0 and now >= settle:
            report(status, "settled")
            os.close(status)
            status = -1
        if now >= check:
            before, sizes = sizes, [rotate(p, spec["log_bytes"]) for p in spec["logs"].values()]
            check = now + (_QUIET_S if sizes == before else _BUSY_S)
        if ending and now >= ending:
            os.kill(worker.pid, signal.SIGKILL)  # our child, not reaped: its PID is its own
            ending = now + _AFTER_KILL_S
        due = min([check, *([settle] if status >= 0 else []), *([ending] if ending else [])])
        if asked_to_end(wake, max(0.0, due - now)) and not ending:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGCONT)
            ending = now + spec["grace_s"]
    return status


def asked_to_end(wake: int, timeout: float) -> bool:
    """Sleep until a signal or the timeout; True when the signal was SIGTERM."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    return bool(poll.poll(timeout * 1000)) and signal.SIGTERM in os.read(wake, 512)


def become_guardian() -> int:
    """Outlive terminals, adopt the worker's orphans, and hear signals through a descriptor."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (OSError, AttributeError):
        pass
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def start(worker: Worker, status: int) -> bool:
    """Start the worker under its lock and say so; whether it lives."""
    spec = worker.spec
    try:
        held, named = os.fstat(worker.lease), os.lstat(spec["lock"])
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino):
            raise ValueError("the lock file was removed or replaced meanwhile")
        worker.start()
        worker.write_owner()
    except OSError as error:
        report(status, f"failed {error.filename or spec['command'][0]}: {error.strerror}")
    except ValueError as error:
        report(status, f"failed {error}")
    if worker.pid:
        report(status, f"started {worker.identity}")
    return bool(worker.pid)


def main() -> None:
    """Start the worker, wait for its end, then see to what it leaves."""
    if os.fork():  # nobody's child: a caller that lives long has no zombie to reap
        os._exit(0)
    spec_fd, status, lease = (int(argument) for argument in sys.argv[2:5])
    fcntl.fcntl(status, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    wake = become_guardian()
    with open(spec_fd, "rb") as file:
        worker = Worker(marshal.loads(file.read()), lease)
    if start(worker, status):
        status = wait(worker, wake, status)
        sys.path[:] = worker.spec["path"]
        from console.system.aftermath import settle

        settle(worker, status)


if __name__ == "__main__":
    main()
