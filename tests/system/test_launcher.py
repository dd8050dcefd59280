"""What has started a process that we did not."""

from __future__ import annotations

import os
import subprocess
import sys

from console.core.model.processes import Identity, Process
from console.core.model.time import Moment
from console.system.processes.launch_origin import describe_launcher


def seen(pid: int, ppid: int) -> Process:
    return Process(Identity(pid, 1, "b"), ppid, ("python",), Moment(1.0))


def test_the_parent_is_named_with_its_command_line() -> None:
    line = [sys.executable, "-S", "-c", "print('up', flush=True); input()", "loop"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        told = describe_launcher(seen(os.getpid(), parent.pid))
        assert told is not None
        parent.kill()
    if not told.startswith("unit "):  # as where the tests run under a service
        assert told.startswith(f"PID {parent.pid} (") and told.endswith("loop)")
        assert describe_launcher(seen(os.getpid(), parent.pid)) is None, "a parent that is gone"
        assert describe_launcher(seen(os.getpid(), 1)) is None
