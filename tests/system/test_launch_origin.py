"""Tests of the description of the parent that launched an outside process."""

from __future__ import annotations

import os
import subprocess
import sys

from console.core.model.processes import Identity, Process
from console.core.model.time import Moment
from console.system.processes.launch_origin import describe_launcher


def seen(pid: int, ppid: int) -> Process:
    return Process(Identity(pid, 1, "b"), ppid, ("python",), Moment(1.0))


def test_parent_is_named_with_its_command_line() -> None:
    line = [sys.executable, "-S", "-c", "print('up', flush=True); input()", "loop"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        launcher = describe_launcher(seen(os.getpid(), parent.pid))
        assert launcher is not None
        parent.kill()
    if not launcher.startswith("unit "):  # the parent may run in a systemd unit
        assert launcher.startswith(f"PID {parent.pid} (") and launcher.endswith("loop)")
        assert describe_launcher(seen(os.getpid(), parent.pid)) is None, "a parent that is gone"
        assert describe_launcher(seen(os.getpid(), 1)) is None
