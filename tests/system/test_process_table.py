"""Tests of the process table and of signals, which never reach a process with a reused PID."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from guard_harness import wait_for

from console.core.model.processes import Identity
from console.system import clock
from console.system.processes import process_table, procfs
from console.system.processes.process_table import ProcessGone, ProcessHandle, ProcessTable

ROUNDS = int(os.environ.get("RPA_STRANGERS", "40"))
STRANGERS = Path(__file__).with_name("pid_reuse.py")


def child() -> subprocess.Popen[bytes]:
    """Start an idle process."""
    return subprocess.Popen(["/bin/sleep", "600"])


def test_identity_is_pid_start_ticks_and_boot() -> None:
    me = process_table.identify(os.getpid())
    assert me is not None and me.pid == os.getpid() and me.boot == clock.boot_id()
    assert Identity.parse(str(me)) == me and process_table.is_alive(me)
    assert not process_table.is_alive(Identity(me.pid, me.ticks, "another boot"))
    assert not process_table.is_alive(Identity(me.pid, me.ticks + 1, me.boot))
    assert process_table.identify(2**22 + 1) is None


def test_handle_signals_its_process_and_reports_its_death() -> None:
    with child() as one:
        identity = process_table.identify(one.pid)
        assert identity is not None
        handle = ProcessHandle(identity)
        assert not handle.is_dead
        handle.send_signal(signal.SIGTERM)
        assert process_table.wait_until_dead([handle], 5.0) == [] and handle.is_dead
        assert one.wait(5) == -signal.SIGTERM
        with pytest.raises(ProcessGone):
            handle.send_signal(signal.SIGTERM)
        handle.close()
        with pytest.raises(ProcessGone):
            ProcessHandle(identity)


def test_handle_refuses_an_identity_with_other_start_ticks() -> None:
    with child() as one:
        identity = process_table.identify(one.pid)
        assert identity is not None
        with pytest.raises(ProcessGone):
            ProcessHandle(Identity(identity.pid, identity.ticks - 1, identity.boot))
        assert one.poll() is None
        one.kill()


def test_identity_is_checked_before_each_signal_without_pidfd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with child() as one:
        identity = process_table.identify(one.pid)
        assert identity is not None
        handle = ProcessHandle(identity)
        assert not handle.is_dead and process_table.wait_until_dead([handle], 0.1) == [handle]
        handle.send_signal(signal.SIGKILL)
        assert process_table.wait_until_dead([handle], 5.0) == []
        one.wait(5)
        with pytest.raises(ProcessGone):
            handle.send_signal(signal.SIGKILL)


def test_zombie_counts_as_dead() -> None:
    one = child()
    identity = process_table.identify(one.pid)
    assert identity is not None
    handle = ProcessHandle(identity)
    one.kill()
    assert wait_for(lambda: handle.is_dead) and not process_table.is_alive(identity)
    assert [p.state for p in ProcessTable().scan() if p.pid == one.pid] == ["Z"]
    one.wait(5)
    handle.close()


def test_full_scan_sees_the_exec_of_an_old_process() -> None:
    """A process keeps its start time across an exec, so a full scan reads its command line."""
    code = "import os, sys; sys.stdin.read(1); os.execv('/bin/sleep', ['sleep', '600'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as one:
        table = ProcessTable()
        table.scan()
        assert one.stdin is not None
        one.stdin.write(b"x")
        one.stdin.flush()
        wait_for(
            lambda: {p.pid: p.argv for p in table.scan(full=True)}[one.pid] == ("sleep", "600")
        )
        one.kill()


def test_process_name_with_brackets_and_newline_is_parsed(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b\n"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "600"]) as one:
        stat = wait_for(lambda: procfs.read_stat(one.pid))
        assert stat[1] == os.getpid()
        one.kill()


def test_usage_of_a_dead_process_is_zero() -> None:
    assert process_table.read_usage([2**22 + 1]) == (0.0, 0)
    assert process_table.read_usage([os.getpid()])[1] > 1_000_000


def test_signal_never_hits_a_process_with_a_reused_pid() -> None:
    """The script runs in its own PID namespace, where the next PID can be chosen."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--fork", "--pid", "--mount-proc",
         sys.executable, str(STRANGERS), str(ROUNDS)],
        capture_output=True, text=True, check=False, timeout=150,
    )  # fmt: skip
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"PIDs cannot be chosen here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:6] == ["reused", str(ROUNDS), "hit", "0", "cached", "0"]
