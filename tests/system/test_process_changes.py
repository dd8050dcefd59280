"""Tests of incremental scans for new processes, and of inotify events for writes."""

from __future__ import annotations

import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guard_harness import wait_for

from console.system import clock
from console.system.host.inotify import InotifyWatch
from console.system.processes import process_table, procfs
from console.system.processes.process_table import IS_LINUX, ProcessTable

pytestmark = pytest.mark.skipif(not IS_LINUX, reason="/proc and inotify are Linux's")


class Later(clock.Clock):
    """The machine's clock plus an offset."""

    by = 0.0

    def tick(self) -> float:
        return super().tick() + self.by


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process during the block."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as one:
        try:
            line = Path(f"/proc/{one.pid}/cmdline")
            wait_for(line.read_bytes)  # empty during an exec
            yield one
        finally:
            one.kill()


def told(table: ProcessTable, pid: int) -> tuple[str, ...]:
    """Return the command line under which a process is reported, or () if it is not."""
    return next((one.argv for one in table.scan_new_or_changed() if one.pid == pid), ())


def test_new_process_is_reported_and_a_thread_is_not() -> None:
    table = ProcessTable()
    table.scan()
    table.scan_new_or_changed()
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        with running("cat") as new:
            assert table.may_have_changed()
            seen = {one.pid for one in table.scan_new_or_changed()}
            assert new.pid in seen and thread.native_id not in seen
    finally:
        ended.set()
        thread.join()


def test_new_process_is_reported_after_a_full_scan_has_found_it() -> None:
    table = ProcessTable()
    table.scan()
    table.scan_new_or_changed()
    with running("cat") as new:
        table.scan()
        assert table.may_have_changed() and told(table, new.pid) == ("cat",)


def test_young_process_is_reported_again_after_an_exec() -> None:
    table = ProcessTable()
    table.scan()
    with running("sh", "-c", "read line; exec cat") as new:
        assert told(table, new.pid)[0] == "sh"
        assert new.stdin is not None
        new.stdin.write(b"\n")
        new.stdin.flush()
        assert wait_for(lambda: told(table, new.pid) == ("cat",))


@pytest.mark.parametrize("tells", [True, False], ids=["the kernel tells who ran", "it does not"])
def test_exec_of_an_old_process_is_reported_within_half_a_minute(
    tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not tells:
        monkeypatch.setattr(process_table, "read_cpu_time_ns", lambda _pid: None)
    table, later = ProcessTable(), Later()
    with running("sh", "-c", "read one; read two; exec cat") as new, clock.override_clock(later):
        told(table, new.pid)
        line = Path(f"/proc/{new.pid}/cmdline")
        assert new.stdin is not None
        for program in ("sh", "cat"):
            later.by += 31
            told(table, new.pid)
            assert table.can_scan_incrementally and not told(table, new.pid)  # old, and unchanged
            new.stdin.write(b"\n")
            new.stdin.flush()
            wait_for(lambda name=program: line.read_bytes().startswith(name.encode()))
            later.by += 31
            assert table.may_have_changed() and told(table, new.pid)[0] == program


def test_cpu_time_of_a_stopped_process_is_constant() -> None:
    with running("cat") as new:
        new.send_signal(signal.SIGSTOP)
        assert wait_for(lambda: (procfs.read_stat(new.pid) or "?")[0] == "T")
        wait_for(
            lambda: procfs.read_cpu_time_ns(new.pid) == procfs.read_cpu_time_ns(new.pid)
        )  # the CPU no longer runs it
        before = procfs.read_cpu_time_ns(new.pid)
        assert before and before == procfs.read_cpu_time_ns(new.pid)
        new.send_signal(signal.SIGCONT)
        assert wait_for(lambda: (procfs.read_cpu_time_ns(new.pid) or 0) > before)
    assert procfs.read_cpu_time_ns(new.pid) is None


def test_inotify_reports_a_write_and_not_a_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    heard = InotifyWatch(tmp_path)
    poll = select.poll()
    poll.register(heard.fileno(), select.POLLIN)
    assert file.read_text() == "one" and not poll.poll(0)
    file.write_text("two")
    assert poll.poll(2000)
    heard.drain()
    assert not poll.poll(0)
    heard.close()


def test_inotify_watch_of_a_missing_directory_raises_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="inotify_add_watch"):
        InotifyWatch(tmp_path / "nowhere")
