"""The shim's main function: starts the worker, waits for its end, cleans up after it.

The arguments are `ROLE SPEC STATUS LEASE START`. The last four are descriptors: the worker's
specification (in marshal's format, which needs no import), the pipe for reports to the caller, the
life lock, and the start lock or -1.

Reports are lines: `started IDENTITY`, then `settled`, `exited REASON` or `killed REASON`; or
`failed REASON`.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys

from console.system.shim.supervise import adopt_orphans, install_signal_handlers, supervise
from console.system.shim.worker import Worker, error_text, send_report

_EX_TEMPFAIL = 75
"""See sysexits.h."""


def start_worker(worker: Worker, report_fd: int) -> bool:
    """Start the worker under its lock and report the result. Return True if it was started."""
    try:
        lock_status, path_status = os.fstat(worker.lease_fd), os.lstat(worker.spec["lock"])
        if (lock_status.st_dev, lock_status.st_ino) != (path_status.st_dev, path_status.st_ino):
            raise ValueError("the lock file was removed or replaced meanwhile")
        worker.start(report_fd)
    except (OSError, ValueError) as error:
        send_report(report_fd, f"failed {error_text(error)}")
    if worker.pid:
        send_report(report_fd, f"started {worker.identity}")
    return bool(worker.pid)


def main() -> None:
    """Run the shim."""
    try:
        if os.fork():  # the shim becomes a child of init, so its caller need not reap it
            os._exit(0)
    except OSError:
        os._exit(_EX_TEMPFAIL)
    spec_fd, report_fd, lease_fd, start_lock_fd = (int(argument) for argument in sys.argv[2:6])
    fcntl.fcntl(report_fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    adopt_orphans()
    wakeup_fd = install_signal_handlers()
    with open(spec_fd, "rb") as file:
        worker = Worker(marshal.loads(file.read()), lease_fd, start_lock_fd)
    if start_lock_fd >= 0 and not worker.spec["machine"]:
        fcntl.fcntl(start_lock_fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if start_worker(worker, report_fd):
        report_fd = supervise(worker, wakeup_fd, report_fd)
        sys.path[:] = worker.spec["path"]
        try:
            from console.system.shim.cleanup import finish
        except ImportError:
            # The shim runs a copy of the package, which was lost with the state directory. Import
            # the package anew from the search path.
            for name in [name for name in sys.modules if name.partition(".")[0] == "console"]:
                del sys.modules[name]
            from console.system.shim.cleanup import finish
        finish(worker, report_fd)
