"""Reading, following and writing files that may be missing, damaged or irregular."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.system.files.outside_files import append_rotating, write_atomically
from console.system.files.safe_files import FileError, FileProblem, read_json, read_tail

as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


# --- reading --------------------------------------------------------------------------------


def problem(path: Path, limit: int = 1_000_000) -> FileProblem:
    with pytest.raises(FileError) as caught:
        read_json(path, limit)
    return caught.value.problem


def test_read_json_returns_the_modification_time(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    os.utime(path, (5, 1000))
    assert read_json(path) == ({"a": 1}, 1000.0)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", FileProblem.TRUNCATED),
        (b"\xef\xbb\xbf", FileProblem.TRUNCATED),
        (b'{"a": [1, 2', FileProblem.TRUNCATED),
        (b'{"a": "\xc3', FileProblem.TRUNCATED),
        (b"<html></html>", FileProblem.INVALID_JSON),
        (b" " * 101, FileProblem.TOO_LARGE),
    ],
)
def test_read_json_classifies_bad_content(
    tmp_path: Path, raw: bytes, expected: FileProblem
) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(raw)
    assert problem(path, 100) is expected


def test_read_json_classifies_missing_and_irregular_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("{}")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert problem(tmp_path / "nothing") is FileProblem.MISSING
    assert problem(tmp_path / "file" / "below") is FileProblem.MISSING
    assert problem(tmp_path / "folder") is FileProblem.NOT_REGULAR
    assert problem(tmp_path / "fifo") is FileProblem.NOT_REGULAR
    assert problem(tmp_path / "loop") is FileProblem.FAILED
    assert problem(tmp_path / ("n" * 300)) is FileProblem.FAILED
    assert problem(tmp_path / "a\0b") is FileProblem.FAILED
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        assert problem(tmp_path / "socket") is FileProblem.NOT_REGULAR


@as_root
def test_read_json_reports_permission_denied(tmp_path: Path) -> None:
    path = tmp_path / "secret.json"
    path.write_text("{}")
    path.chmod(0)
    assert problem(path) is FileProblem.PERMISSION_DENIED


# --- tails ----------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


def test_tail_starts_at_a_line_boundary(log: Path) -> None:
    log.write_text("".join(f"line {n}\n" for n in range(10)))
    page = read_tail(log, None, 15)
    assert page.lines == ("line 8", "line 9")
    assert (page.start, page.end, page.size, page.error) == (56, 70, 70, None)


def test_tail_of_a_short_log_includes_the_unfinished_line(log: Path) -> None:
    log.write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo \xff")
    page = read_tail(log, None)
    assert page.lines == ("one", "", "two \N{REPLACEMENT CHARACTER}")
    assert page.end == page.size


def test_following_returns_each_line_once(log: Path) -> None:
    log.write_text("one\n")
    page = read_tail(log, None)
    with log.open("a") as file:
        file.write("two\nthr")
    page = read_tail(log, page.end)
    assert page.lines == ("two",)
    assert read_tail(log, page.end).lines == ()
    with log.open("a") as file:
        file.write("ee\n")
    assert read_tail(log, page.end).lines == ("three",)


@pytest.mark.parametrize("offset", [100, 10**30])
def test_following_restarts_after_truncation(log: Path, offset: int) -> None:
    log.write_text("new\n")
    page = read_tail(log, offset)
    assert (page.lines, page.start, page.end) == (("new",), 0, 4)


def test_tail_reports_a_missing_or_irregular_log(log: Path) -> None:
    assert read_tail(log, None).error == "missing"
    os.mkfifo(log)
    assert read_tail(log, 0).error == "not a regular file"


def test_tail_of_a_gigabyte_line_is_bounded(log: Path) -> None:
    with log.open("wb") as file:
        file.truncate(1 << 30)  # a sparse file: it takes no disk space
        file.seek(1 << 30)
        file.write(b"\nlast\n")
    assert read_tail(log, None).lines == ("last",)
    page = read_tail(log, 0)
    assert (page.start, page.end, len(page.lines), len(page.lines[0])) == (0, 65536, 1, 65536)
    assert read_tail(log, None, 3).lines == ("st",)
    assert read_tail(log, None, 1).lines == ("",)


@given(st.lists(st.text("ab\né", max_size=9), max_size=9), st.integers(2, 40))
def test_following_neither_loses_nor_repeats_bytes(pieces: list[str], limit: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        log, offset, seen = Path(folder) / "log", 0, b""
        for piece in [*pieces, "\n"]:
            with log.open("ab") as file:
                file.write(piece.encode())
            while (page := read_tail(log, offset, limit)).end > offset:
                assert page.end - page.start <= limit
                seen += log.read_bytes()[page.start : page.end]
                offset = page.end
        assert seen == log.read_bytes()


# --- writing --------------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_creates_the_folder_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "outputs" / "status.json"
    write_atomically(path, "one")
    write_atomically(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert names(path.parent) == ["status.json"]


def test_atomic_write_never_exposes_a_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    whole = [json.dumps([n] * 5000) for n in range(2)]
    write_atomically(path, whole[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for text in whole:
                write_atomically(path, text)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            value, _ = read_json(path)
            assert isinstance(value, list) and len(value) == 5000
    finally:
        stop.set()
        writer.join()


def test_failed_atomic_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_atomically(path, "old")
    with pytest.raises(FileError):
        write_atomically(path, "\ud800")
    with full_disk(2), pytest.raises(FileError, match="file too large"):
        write_atomically(path, "n" * 100_000)
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(FileError):
        write_atomically(tmp_path / "folder", "new")
    with pytest.raises(FileError, match="file exists"):
        write_atomically(path / "below", "new")
    assert (path.read_text(), names(tmp_path)) == ("old", ["folder", "status.json"])


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Limit every file of this process to `limit` bytes; longer writes stop short."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_append_rotates_the_log_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "monitor.log"
    for n in range(7):
        append_rotating(path, f"line {n}", 21)
    assert path.read_text() == "line 6\n"
    assert path.with_name("monitor.log.1").read_text() == "line 3\nline 4\nline 5\n"
    assert names(path.parent) == ["monitor.log", "monitor.log.1"]


def test_append_escapes_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "monitor.log"
    append_rotating(path, "a\nb\x1b[31m" + "c" * 20, 5)
    append_rotating(path, "d", 5)
    assert path.with_name("monitor.log.1").read_text() == "a\\nb\\x1b[31m" + "c" * 20 + "\n"
    assert path.read_text() == "d\n"


def test_partially_appended_line_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "monitor.log"
    append_rotating(path, "first")
    with full_disk(10), pytest.raises(FileError):
        append_rotating(path, "second line")
    assert path.read_text() == "first\n"
    append_rotating(path, "third")
    assert path.read_text() == "first\nthird\n"


def test_append_refuses_an_irregular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(FileError):
            append_rotating(tmp_path / name, "line")


# --- a full file system ---------------------------------------------------------------------

ON_A_SMALL_DISK = """
import pathlib, sys
from console.system.files.outside_files import append_rotating, write_atomically
from console.system.files.safe_files import FileError, read_json
disk = pathlib.Path(sys.argv[1])
path, log = disk / "status.json", disk / "monitor.log"
write_atomically(path, '"old"')
append_rotating(log, "first")
(disk / "ballast").write_bytes(b"x" * 57_344)
for write, target in ((write_atomically, path), (append_rotating, log)):
    try:
        write(target, "x" * 9000)
        sys.exit("it fitted")
    except FileError as error:
        assert "no space left" in str(error), error
assert read_json(path)[0] == "old" and log.read_text() == "first\\n"
assert sorted(p.name for p in disk.iterdir()) == ["ballast", "monitor.log", "status.json"]
(disk / "ballast").unlink()
write_atomically(path, '"new"')
append_rotating(log, "second")
"""


def test_failed_writes_on_a_full_disk_keep_the_old_content(tmp_path: Path) -> None:
    def mounted(*command: str) -> subprocess.CompletedProcess[str]:
        script = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
        unshare = ["unshare", "--user", "--map-root-user", "--mount"]
        return subprocess.run(
            [*unshare, "sh", "-c", script, str(tmp_path), *command],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    try:
        if mounted("true").returncode != 0:
            pytest.skip("no user namespace with a file system of its own")
    except FileNotFoundError:
        pytest.skip("no unshare")
    done = mounted(sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path))
    assert done.returncode == 0, done.stderr
