"""A hung mount is reported and does not prevent restarts."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "system"))

from hanging_mount import hung, needs_fuse

Wait = Callable[..., Any]
pytestmark = needs_fuse


def test_hung_outputs_do_not_delay_a_restart(machine: Any, wait_for: Wait) -> None:
    mount = machine.directory / "mount"
    machine.write(outputs=str(mount / "outputs"), alerts={"look_s": 1})
    mount.mkdir()
    assert machine.run("daemon", "start").returncode == 0
    assert machine.run("ensure").returncode == 0
    log = mount / "outputs" / "worker_monitor.log"
    wait_for(log.exists)
    (before,) = machine.workers()
    with hung(mount):
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: [one for one in machine.workers() if one != before], 20)
        named = f"{mount}/outputs does not answer since"
        wait_for(lambda: named in " ".join(machine.document("status")["reasons"]), 30)
        wait_for(lambda: named in machine.run("alerts").stdout, 30)
        assert machine.document("daemon", "status")["troubles"]
        assert "hangs" not in " ".join(machine.document("status")["reasons"])
        began = time.monotonic()
        stopped = machine.run("daemon", "stop")
        assert (stopped.returncode, time.monotonic() - began < 10) == (0, True), stopped.stderr
        began = time.monotonic()
        assert "does not answer" in machine.run("status").stdout
        assert time.monotonic() - began < 15
    assert machine.run("daemon", "start").returncode == 0
    wait_for(lambda: not machine.document("daemon", "status")["troubles"])
    assert len(machine.workers()) == 1


def test_hung_cwd_is_reported_and_other_roles_are_restarted(machine: Any, wait_for: Wait) -> None:
    mount = machine.directory / "mount"
    mount.mkdir(parents=True)
    machine.directory.chmod(0o700)
    script = machine.directory / "task_watchdog.py"
    script.write_text("import time\nwhile True:\n    time.sleep(60)\n")
    machine.write(worker={"cwd": str(mount)})
    with machine.config.open("a") as file:
        command = [sys.executable, "-I", "-S", str(script)]
        file.write(f"command = {command}\nsettle_s = 0.1\n")  # keys of the last table, the watchdog
    assert machine.run("daemon", "start").returncode == 0
    for role in ("worker", "watchdog"):
        assert machine.run("ensure", role).returncode == 0

    def pid(number: int) -> int:
        found = machine.document("status")["roles"][number]["instances"]
        return int(found[0]["pid"]) if found else 0

    worker, watchdog = pid(0), pid(1)
    with hung(mount):
        os.kill(worker, signal.SIGKILL)
        os.kill(watchdog, signal.SIGKILL)
        wait_for(lambda: pid(1) not in (0, watchdog), 30, "the other role is repaired")
        reason = f"cwd {mount} does not answer"
        wait_for(lambda: reason in " ".join(machine.document("status")["reasons"]), 30)
        refused = machine.run("ensure", "worker")
        assert refused.returncode == 1 and reason in refused.stderr
        assert pid(0) == 0
    wait_for(lambda: pid(0) != 0, 30, "the mount answers again")
    wait_for(lambda: "cwd" not in " ".join(machine.document("status")["reasons"]))
