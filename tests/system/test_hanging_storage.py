"""Tests of storage that stops responding, with a real mount that hangs."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hanging_mount import hung, needs_fuse

from console.runtime.supervision.worker_log import WorkerLog
from console.system.box import open_box
from console.system.config.schema import Settings
from console.system.config.watched_file import WatchedConfig
from console.system.files import hanging_storage
from console.system.files.hanging_storage import StorageTimeoutError
from console.system.files.outside_files import (
    OutsideDirectory,
    unsafe_directory_reason,
    write_atomically,
)
from console.system.files.safe_files import FileError, FileProblem


def _fail() -> None:
    raise FileError(FileProblem.TRUNCATED, "at the end")


def test_remote_call_returns_its_result_or_error(tmp_path: Path) -> None:
    place = hanging_storage.RemoteDirectory(str(tmp_path))
    assert place.call(os.path.join, ("a", "b"), 5.0) == "a/b"
    assert place.call(os.urandom, (1_000_000,), 5.0) != b""
    with pytest.raises(FileError, match="half written: at the end") as caught:
        place.call(_fail, (), 5.0)
    assert caught.value.problem is FileProblem.TRUNCATED
    with pytest.raises(FileError, match="FileNotFoundError"):
        place.call(os.stat, (str(tmp_path / "none"),), 5.0)
    with pytest.raises(FileError, match="was ended"):
        place.call(os._exit, (1,), 5.0)


def test_remote_process_inherits_no_descriptors(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        open_there = hanging_storage.RemoteDirectory("x").call(os.listdir, ("/proc/self/fd",), 5.0)
    assert len(open_there) <= 5  # 0 to 2, the pipe, and the directory itself


@needs_fuse
def test_hanging_mount_times_out_once_and_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    link = tmp_path / "link"
    link.symlink_to("m/outputs")
    with hung(directory):
        assert hanging_storage.is_remote(str(directory / "outputs")) and hanging_storage.is_remote(
            str(link)
        )
        assert not hanging_storage.is_remote(str(tmp_path))
        for _ in range(3):
            with pytest.raises(
                StorageTimeoutError, match=f"does not answer since .*mount {directory}, fuse"
            ):
                write_atomically(directory / "outputs" / "file", "text")
        began = time.monotonic()
        with pytest.raises(StorageTimeoutError):
            write_atomically(directory / "outputs" / "file", "text")
        assert time.monotonic() - began < 1.0
        assert "does not answer" in (unsafe_directory_reason(directory / "outputs") or "")
        assert any(str(directory) in words for words in hanging_storage.unresponsive_messages())
        tasks = Path("/proc/self/task")
        states = [
            (one / "stat").read_text().rpartition(")")[2].split()[0] for one in tasks.iterdir()
        ]
        assert "D" not in states, "a thread of ours hangs: this process could not end"
    write_atomically(directory / "outputs" / "file", "text")
    assert (directory / "outputs" / "file").read_text() == "text"
    assert hanging_storage.unresponsive_messages(retry=True) == ()


@needs_fuse
def test_log_lines_are_queued_until_the_mount_responds(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    settings = Settings(outputs=str(directory / "outputs"))
    with open_box(settings, tmp_path / "state") as box:
        log = WorkerLog(box)
        with hung(directory):
            began = time.monotonic()
            for number in range(50):
                log.write(f"line {number}")
            assert time.monotonic() - began < 1.5, "the caller may be the event loop"
        while any(one.daemon and one.is_alive() for one in threading.enumerate()[1:]):
            time.sleep(0.01)
        log.flush()
        lines = (directory / "outputs" / "worker_monitor.log").read_text().splitlines()
    assert [one.partition("] ")[2].split()[-1] for one in lines] == [str(n) for n in range(50)]


@needs_fuse
def test_config_reload_on_a_hanging_mount_does_not_block(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    path = directory / "c.toml"
    path.write_text("")
    configured = WatchedConfig(path, Settings())
    with hung(directory):
        began = time.monotonic()
        for _ in range(20):
            assert configured.reload_if_changed() == Settings()
        assert time.monotonic() - began < 2.0
        assert configured.file_error is not None and "does not answer" in configured.file_error
    configured.reload_if_changed()
    assert configured.file_error is None


def test_config_file_replaced_by_a_fifo_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("")
    configured = WatchedConfig(path, Settings())
    path.unlink()
    os.mkfifo(path)
    assert configured.reload_if_changed() == Settings()
    assert configured.file_error is not None and "is a FIFO" in configured.file_error


@needs_fuse
def test_status_file_on_a_hanging_mount_raises_a_timeout(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    with hung(directory), pytest.raises(StorageTimeoutError) as caught:
        OutsideDirectory(directory).read_json("status.json")
    assert caught.value.problem is FileProblem.NOT_RESPONDING
