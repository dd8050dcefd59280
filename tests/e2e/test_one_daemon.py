"""A box has one daemon, for any environment and after any change of the state directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.system.locks import ofd_lock

Wait = Callable[..., Any]


@pytest.fixture
def watched(box: Any, wait_for: Wait) -> Any:
    assert box.run("daemon", "start").returncode == 0
    wait_for((box.state / "locks" / "monitors.heartbeat").exists, 30)
    return box


def daemons(box: Any) -> list[int]:
    """Return the PIDs of this box's daemons, found by their command lines."""
    found = []
    for one in psutil.process_iter():
        try:
            argv = one.cmdline()
            living = one.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if living and argv[-2:] == ["daemon", "run"] and str(box.state) in argv:
            found.append(one.pid)
    return found


def refused(box: Any, **environment: str) -> str:
    """Run a second daemon with these variables. It must end by itself. Return its message."""
    box.environment |= environment
    done = box.run("daemon", "run")
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return str(done.stderr)


def test_each_box_of_one_user_has_its_own_daemon(watched: Any, tmp_path: Path) -> None:
    """The worker records of a user contain both daemons. Each counts for its own box only."""
    (tmp_path / "other").mkdir()
    other = type(watched)(tmp_path / "other")
    other.write()
    try:
        started = other.run("daemon", "start")
        assert started.returncode == 0 and "already" not in started.stdout
        (pid,), (others_pid,) = daemons(watched), daemons(other)
        assert other.document("daemon", "status")["pid"] == others_pid
        assert other.run("daemon", "stop").returncode == 0
        assert (daemons(watched), daemons(other)) == ([pid], [])
    finally:
        other.close()


@pytest.mark.parametrize("number", ["0", "2", "99", "99999999999", "9" * 30, "²", "-1", "x", " 1"])
def test_arbitrary_lease_descriptor_number_is_refused(watched: Any, number: str) -> None:
    (pid,) = daemons(watched)
    words = refused(watched, RPA_CONSOLE_LEASE_FD=number)
    assert "another process runs this box's monitors" in words
    assert daemons(watched) == [pid]


def test_descriptor_of_the_lock_file_without_a_lock_is_refused(watched: Any) -> None:
    """The descriptor is open on the right file and carries no lock."""
    descriptor = os.open(watched.state / "locks" / "monitors.lock", os.O_RDWR)
    try:
        os.set_inheritable(descriptor, True)
        words = refused(watched, RPA_CONSOLE_LEASE_FD=str(descriptor))
    finally:
        os.close(descriptor)
    assert "another process" in words


def test_inherited_lock_of_another_process_is_refused(box: Any) -> None:
    """The lock is inherited, and its record does not name the inheriting process."""
    assert box.run("daemon", "start").returncode == 0
    assert box.run("daemon", "stop").returncode == 0
    grant = ofd_lock.acquire(box.state / "locks" / "monitors.lock")
    assert grant is not None
    try:
        os.set_inheritable(grant.descriptor, True)
        assert "another process" in refused(box, RPA_CONSOLE_LEASE_FD=str(grant.descriptor))
    finally:
        grant.close()


def test_daemon_started_by_a_leased_worker_ignores_its_lease(box: Any, wait_for: Wait) -> None:
    """The variable in its environment belongs to another lease."""
    box.environment["RPA_CONSOLE_LEASE_FD"] = "0"
    running = box.start("daemon", "run")
    wait_for((box.state / "locks" / "monitors.heartbeat").exists, 30)  # its loop runs
    assert box.document("daemon", "status")["running"]
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 0


def test_daemon_recreates_a_removed_state_directory(watched: Any, wait_for: Wait) -> None:
    (pid,) = daemons(watched)
    gone = watched.state.rename(f"{watched.state}.gone")  # one step, because the daemon writes
    shutil.rmtree(gone)
    wait_for((watched.state / "locks" / "monitors.heartbeat").exists, 30)
    wait_for(lambda: watched.document("daemon", "status")["running"], 30)
    assert watched.document("daemon", "status")["pid"] == pid
    assert daemons(watched) == [pid]
    told = [one["reason"] for one in watched.events("noticed")]
    assert any("was removed or replaced while the daemon ran" in reason for reason in told), told
    assert "already running" in watched.run("daemon", "start").stdout
    assert watched.run("daemon", "stop").returncode == 0
    wait_for(lambda: not daemons(watched))


def test_one_of_two_daemons_of_a_replaced_state_stays(watched: Any, wait_for: Wait) -> None:
    """The old daemon takes the new state over, or the new daemon stays."""
    assert len(daemons(watched)) == 1
    watched.state.rename(f"{watched.state}.kept")
    assert watched.run("daemon", "start").returncode == 0
    wait_for(lambda: watched.document("daemon", "status")["running"], 30)
    (pid,) = wait_for(lambda: len(found := daemons(watched)) == 1 and found, 30)
    assert watched.document("daemon", "status")["pid"] == pid


def test_dead_daemon_counts_as_stopped_while_its_shim_holds_the_lock(
    watched: Any, wait_for: Wait
) -> None:
    (pid,) = daemons(watched)
    owner = json.loads((watched.state / "locks" / "monitors.owner.json").read_text())
    shim = int(owner["shim"].partition(":")[0])
    os.kill(shim, signal.SIGSTOP)  # it can neither write the certificate nor unlock
    try:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: pid not in daemons(watched))
        assert not watched.document("daemon", "status")["running"]
        daemon = watched.document("status")["daemon"]
        assert not daemon["running"], daemon
    finally:
        os.kill(shim, signal.SIGCONT)
