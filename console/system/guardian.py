"""What a shim does: one small process per worker, which holds the lease with it and sees it die.

It imports nothing else of the project until its worker is dead, and little besides: there is one
for each worker. Its arguments `SPEC`, `STATUS`, `LEASE` and `START` are descriptors: what to run
(marshal), where to report to the caller, the life lock, and the start lock or -1. The worker
inherits the life lock. So two processes hold it: it survives the death of either, and a worker that
closes all descriptors. The start lock ends as the worker's program begins.

The worker-to-be writes the owner record itself, before it becomes the worker: whoever is killed
when, no worker ever runs unnamed.

Reports, a line each: `started IDENTITY`, then `settled`, `exited REASON` or `killed REASON`; or
`failed REASON`.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False  # as `typing` has it, which costs a megabyte
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from typing import Any
else:
    import _signal as signal  # what `signal` adds are names: 5 ms of each start

_PR_SET_CHILD_SUBREAPER = 36
_OURS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""What Python or we have changed, and a worker finds as usual."""
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
_BUSY_S, _QUIET_S = 0.25, 1.0
_FIRST_S, _LEAST_S = 0.05, 0.02
"""How soon after its first line, and how soon at the least, a log is looked at."""
_NEVER = float("inf")
_AFTER_KILL_S = 5.0
_S_IFMT, _S_IFREG = 0o170000, 0o100000
_BEGIN_S = 10.0
"""What a child may take until it has become the worker: longer on a mount that hangs."""


class Worker:
    """The worker's life, from the first instruction to the certificate."""

    def __init__(self, spec: dict[str, Any], lease: int, start_lock: int = -1) -> None:
        self.spec, self.lease, self.start_lock = spec, lease, start_lock
        self.pid, self.identity, self.status = 0, "", -1
        self.dead = False
        self.started = moment()
        self.err_start = 0
        self.room = -1
        """The directory of its logs."""
        self.oom_kills = oom_kills()

    def start(self, status: int) -> None:
        """Start it in a session of its own. Raises OSError, ValueError."""
        spec = self.spec
        out, err = (open_log(spec["logs"][stream]) for stream in ("out", "err"))
        self.err_start = os.fstat(err).st_size
        self.room = os.open(os.path.dirname(spec["logs"]["out"]), os.O_RDONLY | os.O_CLOEXEC)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        shim = identity(os.getpid(), spec["boot"])
        self.started = moment()
        # No signal in between: what is meant for the worker must not be taken for ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            self._become(shim, out, err, writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for descriptor in (out, err, writing):
            os.close(descriptor)
        failure = heard(reading, _BEGIN_S)  # until it has become the worker, or is dead
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

    def _become(self, shim: str, out: int, err: int, failing: int) -> None:
        """In the child: write who we are, then be the worker."""
        spec, named = self.spec, False
        program, at = spec["command"][0], None
        try:
            os.setsid()
            for number in _OURS:
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
            report(failing, why(error, at))
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
    return {key: value for key, value in environment.items() if key in _PASSED_ON}


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


def why(error: OSError | ValueError, program: str | None = None) -> str:
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


def rotate(path: str, limit: int) -> int:
    """Keep the newest `limit` bytes of a log that has grown past it as `.1`; its size now.

    The worker's descriptor appends, so it goes on writing at the new end: no pipe that could
    break or block it when the shim dies.
    """
    try:
        size = os.stat(path).st_size  # all that is asked, as a rule
        if size <= limit:
            return size
        with open(path, "rb+") as file:
            file.seek(-limit, os.SEEK_END)
            with open(f"{path}.1", "wb") as old:
                old.write(file.read(limit))
            file.truncate(0)
    except OSError:
        pass
    return 0


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


def wait(worker: Worker, wake: int, status: int) -> int:
    """Until the worker is dead: bound its logs, report that it settled, obey SIGTERM.

    The descriptor for reports, or -1 when it has said all.
    """
    spec, sizes = worker.spec, [0]
    now = looked = moment()[1]
    settle, check, ending = now + spec["settle_s"], now + _BUSY_S, 0.0
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    while not worker.reap():
        now = moment()[1]
        if status >= 0 and now >= settle:
            report(status, "settled")
            os.close(status)
            status = -1
        if now >= check:
            written, before = listen(worker.room), sizes
            sizes = [rotate(path, spec["log_bytes"]) for path in spec["logs"].values()]
            quiet = now + _QUIET_S if written else _NEVER
            busy = now + pace(sum(before), sum(sizes), now - looked, spec["log_bytes"])
            check, looked = quiet if sizes == before else busy, now
        if ending and now >= ending:
            os.kill(worker.pid, signal.SIGKILL)  # our child, not reaped: its PID is its own
            ending = now + _AFTER_KILL_S
        due = min([check, *([settle] if status >= 0 else []), *([ending] if ending else [])])
        told = sleep(wake, max(0.0, due - now), check == _NEVER)
        if signal.SIGIO in told:
            listen(worker.room)
            looked = moment()[1]
            check = looked + _FIRST_S
        if signal.SIGTERM in told and not ending:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGCONT)
            ending = moment()[1] + spec["grace_s"]  # `now` is of before the sleep
    return status


def pace(before: int, size: int, seconds: float, limit: int) -> float:
    """How soon logs that grow like that are worth another look: before they pass their bound."""
    if size < before:  # they have passed it
        return _LEAST_S
    rate = (size - before) / max(seconds, 0.001)
    return min(_BUSY_S, max(_LEAST_S, (limit - size) / (2 * rate + 1)))


def listen(room: int) -> bool:
    """Whether a file of a directory was written since we last asked; True where nobody tells.

    From now on SIGIO tells of the next time, once. inotify would tell of our files alone, but a
    user has 128 of those, and there may be more workers.
    """
    try:
        written = signal.sigtimedwait([signal.SIGIO], 0) is not None
        fcntl.fcntl(room, fcntl.F_NOTIFY, fcntl.DN_MODIFY)
    except (OSError, AttributeError):
        return True
    return written


def sleep(wake: int, seconds: float, listening: bool) -> bytes:
    """Sleep until a signal or the timeout; the signals that came.

    SIGIO wakes us while we are `listening`, and else waits: others may write all the time.
    """
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if listening:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    ready = poll.poll(None if seconds == _NEVER else seconds * 1000)
    if listening:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    return os.read(wake, 512) if ready else b""


def adopt_orphans() -> None:
    """Be the parent of whatever outlives its own below us, where the kernel has that."""
    try:
        import _ctypes  # `ctypes` is made of it, and takes another 4 ms of each start

        loaded = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        prctl = _ctypes.dlsym(loaded, "prctl")
        _ctypes.call_function(prctl, (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    except (ImportError, AttributeError, OSError):
        pass


def become_guardian() -> int:
    """Outlive terminals, adopt the worker's orphans, and hear signals through a descriptor."""
    adopt_orphans()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGIO):
        signal.signal(number, lambda *_: None)
    return reading


def start(worker: Worker, status: int) -> bool:
    """Start the worker under its lock and say so; whether it lives."""
    try:
        held, named = os.fstat(worker.lease), os.lstat(worker.spec["lock"])
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino):
            raise ValueError("the lock file was removed or replaced meanwhile")
        worker.start(status)
    except (OSError, ValueError) as error:
        report(status, f"failed {why(error)}")
    if worker.pid:
        report(status, f"started {worker.identity}")
    return bool(worker.pid)


def main() -> None:
    """Start the worker, wait for its end, then see to what it leaves."""
    try:
        if os.fork():  # a child of init: a caller that lives long has no zombie to reap
            os._exit(0)
    except OSError:
        os._exit(75)  # EX_TEMPFAIL
    spec_fd, status, lease, start_lock = (int(argument) for argument in sys.argv[2:6])
    fcntl.fcntl(status, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    wake = become_guardian()
    with open(spec_fd, "rb") as file:
        worker = Worker(marshal.loads(file.read()), lease, start_lock)
    if start_lock >= 0 and not worker.spec["machine"]:
        fcntl.fcntl(start_lock, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if start(worker, status):
        status = wait(worker, wake, status)
        sys.path[:] = worker.spec["path"]
        try:
            from console.system.aftermath import settle
        except ImportError:  # the copy that we run from went with a lost state directory
            for name in [one for one in sys.modules if one.partition(".")[0] == "console"]:
                del sys.modules[name]
            from console.system.aftermath import settle
        settle(worker, status)
