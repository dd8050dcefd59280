"""The shim's main function: start the worker, wait for its end, clean up after it.

The arguments are `ROLE SPEC STATUS LEASE START`. The last four are descriptors: what to run (in
marshal's format, which needs no import), where to report to the caller, the life lock, and the
start lock or -1.

Reports are lines: `started IDENTITY`, then `settled`, `exited REASON` or `killed REASON`; or
`failed REASON`.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys

from console.system.shim.supervise import adopt_orphans, install_signal_handlers, supervise
from console.system.shim.worker import Worker, error_text, report

_EX_TEMPFAIL = 75
"""See sysexits.h."""


def start(worker: Worker, status: int) -> bool:
    """Start the worker under its lock and say so; whether it lives."""
    try:
        held, named = os.fstat(worker.lease), os.lstat(worker.spec["lock"])
        if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino):
            raise ValueError("the lock file was removed or replaced meanwhile")
        worker.start(status)
    except (OSError, ValueError) as error:
        report(status, f"failed {error_text(error)}")
    if worker.pid:
        report(status, f"started {worker.identity}")
    return bool(worker.pid)


def main() -> None:
    """Do the shim's whole work."""
    try:
        if os.fork():  # a child of init: a caller that lives long has no zombie to reap
            os._exit(0)
    except OSError:
        os._exit(_EX_TEMPFAIL)
    spec_fd, status, lease, start_lock = (int(argument) for argument in sys.argv[2:6])
    fcntl.fcntl(status, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    adopt_orphans()
    wake = install_signal_handlers()
    with open(spec_fd, "rb") as file:
        worker = Worker(marshal.loads(file.read()), lease, start_lock)
    if start_lock >= 0 and not worker.spec["machine"]:
        fcntl.fcntl(start_lock, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if start(worker, status):
        status = supervise(worker, wake, status)
        sys.path[:] = worker.spec["path"]
        from console.system.shim.cleanup import finish

        finish(worker, status)
