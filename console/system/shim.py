"""The shim: one small process per worker, which holds the lease with it and sees it die.

Run as a plain script (`python -I -S shim.py ROLE SPEC STATUS LEASE`), it imports nothing of the
project until its worker is dead. `SPEC`, `STATUS` and `LEASE` are descriptors: what to run
(marshal), where to report to the caller, and the lock itself, which the worker inherits. So the
lock is held by two: it survives the death of either, and a worker that closes all descriptors.

Reports, a line each: `started IDENTITY`, then `settled` or `exited REASON`; or `failed REASON`.
"""

import contextlib
import ctypes
import fcntl
import json
import marshal
import os
import select
import signal
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_CHECK_S, _CHECK_MAX_S = 1.0, 8.0
_HZ = os.sysconf("SC_CLK_TCK")


class Worker:
    """The worker's life, from the first instruction to the certificate."""

    def __init__(self, spec, lease):
        self.spec, self.lease = spec, lease
        self.pid, self.ticks, self.status = 0, 0, None
        self.started = _moment()
        self.err_start = 0

    def start(self):
        """Start it in a session of its own. Raises OSError."""
        spec = self.spec
        environment = {**os.environ, **spec["env"], "RPA_CONSOLE_LEASE_FD": str(self.lease)}
        out, err = (_open_log(spec["logs"][stream]) for stream in ("out", "err"))
        self.err_start = os.fstat(err).st_size
        os.chdir(spec["cwd"] or "/")
        self.pid = os.posix_spawnp(
            spec["command"][0],
            spec["command"],
            environment,
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
        self.started = _moment()
        self.ticks = _stat(self.pid)[1]

    @property
    def identity(self):
        return f"{self.pid}:{self.ticks}:{self.spec['boot']}"

    def uptime(self):
        return _tick() - self.started[1]

    def reap(self):
        """Collect the dead, adopted orphans included; True once the worker is among them."""
        with contextlib.suppress(ChildProcessError):
            while self.status is None:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self.pid:
                    self.status = status
        return self.status is not None

    def last_words(self):
        """The last lines of its standard error."""
        return _tail(self.spec["logs"]["err"], self.err_start)

    def cause(self):
        """(exit code or None, signal name or None, in words)."""
        code = os.waitstatus_to_exitcode(self.status)
        if code >= 0:
            return code, None, f"exited with code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return None, name, f"ended by {name}"


def _tick():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _moment():
    return time.time(), _tick()


def _stat(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        raw = file.read()
    fields = raw[raw.rfind(b")") + 2 :].split()
    return int(fields[1]), int(fields[19])


def _open_log(path):
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _write_owner(spec, worker):
    lock = os.fstat(worker.lease)
    own = f"{os.getpid()}:{_stat(os.getpid())[1]}:{spec['boot']}"
    record = {
        "identity": worker.identity,
        "token": spec["token"],
        "since": [*worker.started, spec["boot"]],
        "shim": own,
        "actor": spec["actor"],
        "lock": [lock.st_dev, lock.st_ino],
    }
    temporary = f"{spec['owner']}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(record, file)
    os.replace(temporary, spec["owner"])


def _rotate(path, limit):
    """Keep the newest half-limit of a log that has grown past it; True when it grew too large.

    The worker's descriptor appends, so it goes on writing at the new end: no pipe that could
    break or block it when the shim dies.
    """
    with contextlib.suppress(OSError), open(path, "rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= limit:
            return size
        file.seek(-limit, os.SEEK_END)
        with open(f"{path}.1", "wb") as old:
            while chunk := file.read(1 << 20):
                old.write(chunk)
        file.truncate(0)
    return 0


def _tail(path, start, limit=2_000):
    """The last lines since `start`; a log that has been rotated since is shorter than that."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start if start <= size else 0, size - limit))
        return file.read().decode("utf-8", "replace").splitlines()[-10:]
    return []


def _report(status, line):
    with contextlib.suppress(OSError):
        os.write(status, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")


def _wait(worker, wake, status):
    """Until the worker is dead: rotate its logs, report that it settled, obey SIGTERM."""
    spec, pause, sizes = worker.spec, _CHECK_S, {}
    ending = None
    check = _tick() + pause
    settle = _tick() + spec["settle_s"]
    while not worker.reap():
        if status >= 0 and _tick() >= settle:
            _report(status, "settled")
            os.close(status)
            status = -1
        if _tick() >= check:
            now = {path: _rotate(path, spec["log_bytes"]) for path in spec["logs"].values()}
            pause = _CHECK_S if now != sizes else min(pause * 2, _CHECK_MAX_S)
            sizes, check = now, _tick() + pause
        if ending is not None and _tick() >= ending:
            os.kill(worker.pid, signal.SIGKILL)
        due = min([check, *([settle] if status >= 0 else []), *([ending] if ending else [])])
        if _asked_to_end(wake, max(0.0, due - _tick())) and ending is None:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGCONT)
            ending = _tick() + spec["grace_s"]
    return status


def _asked_to_end(wake, timeout):
    """Sleep until a signal or the timeout; True when the signal was SIGTERM."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    if not poll.poll(timeout * 1000):
        return False
    return signal.SIGTERM in os.read(wake, 512)


def _children():
    """PIDs of our children: what the dead worker left behind comes to us, the subreaper.

    A child that nobody but us can reap keeps its PID, so signalling it cannot hit a stranger.
    """
    own = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if _stat(int(name))[0] == own:
                    yield int(name)


def _reap_all():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_leftovers(grace_s):
    """End what the worker left behind, generation by generation; the PIDs that were ended."""
    ended, deadline = {}, _tick() + grace_s
    while True:
        _reap_all()
        living = list(_children())
        if not living or _tick() > deadline + 5.0:
            return sorted(ended)
        for pid in living:
            number = signal.SIGKILL if _tick() > deadline else signal.SIGTERM
            if ended.get(pid) != number:
                ended[pid] = number
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
                    os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)


def _certify(worker):
    """Write the death certificate into the ledger; into the log when that cannot be done."""
    spec = worker.spec
    sys.path[:] = spec["path"]
    certificate = _certificate(worker)
    try:
        from console.system.certificate import write

        write(spec["store"], certificate)
    except Exception as error:
        with contextlib.suppress(OSError), open(spec["logs"]["err"], "a", encoding="utf-8") as log:
            log.write(f"rpa-console: no certificate: {error!r}: {json.dumps(certificate)}\n")


def _certificate(worker):
    spec = worker.spec
    code, name, reason = worker.cause()
    return {
        "role": spec["role"],
        "identity": worker.identity,
        "token": spec["token"],
        "actor": spec["actor"],
        "started": [*worker.started, spec["boot"]],
        "moment": [*_moment(), spec["boot"]],
        "reason": reason,
        "data": {
            "exit_code": code,
            "signal": name,
            "uptime_s": round(worker.uptime(), 3),
            "stderr": worker.last_words(),
        },
    }


def _read_spec(descriptor):
    with open(descriptor, "rb") as file:
        return marshal.loads(file.read())


def _become_guardian():
    """Outlive terminals, adopt the worker's orphans, and hear signals through a descriptor."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def main():
    """Start the worker, wait for its end, certify it."""
    spec_fd, status, lease = (int(argument) for argument in sys.argv[2:5])
    fcntl.fcntl(status, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    wake = _become_guardian()
    worker = Worker(_read_spec(spec_fd), lease)
    try:
        worker.start()
        _write_owner(worker.spec, worker)
    except OSError as error:
        _report(status, f"failed {error.filename or worker.spec['command'][0]}: {error.strerror}")
        if not worker.pid:
            return
    _report(status, f"started {worker.identity}")
    status = _wait(worker, wake, status)
    if status >= 0:
        _report(
            status, f"exited {worker.cause()[2]}: " + " | ".join(_tail(worker.spec["logs"]["err"]))
        )
        os.close(status)
    _certify(worker)
    _end_leftovers(worker.spec["grace_s"])


if __name__ == "__main__":
    main()
