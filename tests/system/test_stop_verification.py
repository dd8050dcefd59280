"""Kill confirms that the worker ended, and the console notices a lost lease."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.core.model.commands import Command, Verb
from console.core.model.events import EventKind
from console.system.box import open_box
from console.system.config.schema import RoleSettings, Settings
from console.system.guard.guard import Guard
from console.system.locks import lease

AGAIN = """
import os, signal, subprocess, sys, time
def again(*_):
    subprocess.Popen([sys.executable, "-I", "-S", __file__, "2"], env={}, start_new_session=True)
    os._exit(0)
if len(sys.argv) == 1:
    signal.signal(signal.SIGTERM, again)
while True:
    time.sleep(60)
"""


def test_kill_fails_when_the_worker_respawns_itself(tmp_path: Path) -> None:
    script = tmp_path / "again.py"
    script.write_text(AGAIN)
    command = [sys.executable, "-I", "-S", str(script)]
    worker = RoleSettings(str(script), command, settle_s=0.2, grace_s=5.0)
    left: list[psutil.Process] = []
    with open_box(Settings(roles={"worker": worker}), tmp_path / "state") as box:
        guard = Guard(box)
        try:
            assert guard.carry_out(Command(Verb.ENSURE, "worker", "cli:ana")).done
            known = lease.read_owner(box.paths.owner("worker"))
            assert known is not None and known[0].shim is not None
            os.kill(known[0].shim.pid, signal.SIGKILL)  # a live shim would end the leftovers
            done = guard.carry_out(Command(Verb.KILL, "worker", "cli:ana"))
            left = running(script)
            assert len(left) == 1
            assert not done.done and done.code == 1
            assert f"still running: PID {left[0].pid}" in done.message
            assert f"PID {left[0].pid}" in box.store.events(kinds=(EventKind.FAILED,))[-1].reason
            again = guard.carry_out(Command(Verb.KILL, "worker", "cli:ana"))
            assert again.done, again.message
            assert running(script) == []
        finally:
            for one in running(script):
                one.kill()


def running(script: Path) -> list[psutil.Process]:
    found = []
    for one in psutil.process_iter():
        try:
            if str(script) in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("gone", [True, False])
def test_console_stops_the_monitors_after_losing_its_lease(tmp_path: Path, gone: bool) -> None:
    from console.core.model.snapshot import Verdict
    from console.monitors import discover_monitors
    from console.runtime.snapshots.store_view import StoreView
    from console.system import daemon_role

    state = tmp_path / "state"
    with open_box(Settings(), state) as box:
        grant: Any = daemon_role.acquire_lease(box.paths, box.store)
        view = StoreView(box, discover_monitors(), True, grant)
        assert (
            view.daemon_view().running
            and view.daemon_view().in_this_process
            and view.disabled_reason("worker") is None
        )
        if gone:
            state.rename(tmp_path / "elsewhere")
        else:
            (state / "locks" / "monitors.lock").unlink()
            (state / "locks" / "monitors.lock").touch(0o600)
        daemon = view.daemon_view()
        assert (
            not daemon.running
            and not daemon.in_this_process
            and "was removed or replaced" in daemon.reason
        )
        assert view.disabled_reason("worker")
        if not gone:
            assert view.compose().verdict is Verdict.UNKNOWN
        grant.close()
