"""Tests of writes to directories of other users: links, owners, modes, directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.system.files.outside_files import (
    PUBLIC_MODE,
    OutsideDirectory,
    unsafe_directory_reason,
)
from console.system.files.safe_files import FileError, FileProblem

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OTHER = 12_345


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    directory = tmp_path / "outputs"
    directory.mkdir()
    return directory


@pytest.fixture(params=[0o000, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(door: OutsideDirectory, name: str = "log") -> str:
    with pytest.raises(FileError) as caught:
        door.append(name, "a line")
    assert caught.value.problem is FileProblem.UNSAFE, caught.value
    return str(caught.value)


@pytest.mark.parametrize("there", [True, False])
def test_append_through_a_symlink_is_refused(tmp_path: Path, outputs: Path, there: bool) -> None:
    target = tmp_path / "profile.sh"
    if there:
        target.write_text("true\n")
    (outputs / "log").symlink_to(target)
    assert "log is a symbolic link" in refused(OutsideDirectory(outputs))
    assert target.read_text() == "true\n" if there else not target.exists()


def test_write_replaces_a_symlink(tmp_path: Path, outputs: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (outputs / "file").symlink_to(target)
    OutsideDirectory(outputs).write("file", "new")
    assert not (outputs / "file").is_symlink() and target.read_text() == "mine"


def test_symlinked_subdirectory_is_refused(tmp_path: Path, outputs: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "CRITICAL_worker.down.txt").write_text("kept")
    (outputs / "alerts").symlink_to(elsewhere)
    door = OutsideDirectory(outputs)
    for act in (door.remove, lambda name: door.write(name, "new"), lambda n: door.append(n, "x")):
        with pytest.raises(FileError, match="alerts is a link"):
            act(outputs / "alerts" / "CRITICAL_worker.down.txt")
    assert (elsewhere / "CRITICAL_worker.down.txt").read_text() == "kept"


def test_configured_directory_may_be_a_symlink(tmp_path: Path, outputs: Path) -> None:
    (tmp_path / "link").symlink_to(outputs)
    OutsideDirectory(tmp_path / "link").append("log", "a line")
    assert (outputs / "log").read_text() == "a line\n"


def test_append_to_a_hard_linked_file_is_refused(tmp_path: Path, outputs: Path) -> None:
    (tmp_path / "other").write_text("mine\n")
    os.link(tmp_path / "other", outputs / "log")
    assert "second hard link" in refused(OutsideDirectory(outputs))
    assert (tmp_path / "other").read_text() == "mine\n"


def test_append_to_a_fifo_is_refused_without_blocking(outputs: Path) -> None:
    os.mkfifo(outputs / "log")
    with pytest.raises(FileError):
        OutsideDirectory(outputs).append("log", "a line")


@pytest.mark.usefixtures("umask")
def test_file_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    outputs = tmp_path / "made" / "outputs"
    door = OutsideDirectory(outputs)
    door.append("log", "a line")
    door.write("alerts/file", "text")
    door.write("status.json", "{}", PUBLIC_MODE)
    assert mode(outputs.parent) == mode(outputs) == mode(outputs / "alerts") == 0o755
    assert mode(outputs / "log") == 0o640
    assert mode(outputs / "alerts" / "file") == 0o600
    assert mode(outputs / "status.json") == 0o644


def test_remove_of_a_missing_file_does_nothing(outputs: Path) -> None:
    door = OutsideDirectory(outputs)
    door.remove("alerts/none")
    assert not (outputs / "alerts").exists(), "made for nothing"
    door.write("alerts/one", "text")
    door.remove("alerts/one")
    assert not (outputs / "alerts" / "one").exists()


@root_only
def test_append_to_a_file_of_an_untrusted_owner_is_refused(outputs: Path) -> None:
    (outputs / "log").write_text("")
    os.chown(outputs / "log", OTHER, OTHER)
    assert f"belongs to uid {OTHER}" in refused(OutsideDirectory(outputs))
    OutsideDirectory(outputs, frozenset({OTHER})).append("log", "a line")


@root_only
@pytest.mark.parametrize("whose", ["outputs", "home"])
def test_root_writes_nothing_in_a_directory_of_an_untrusted_user(
    tmp_path: Path, whose: str
) -> None:
    outputs = tmp_path / "home" / "outputs"
    outputs.mkdir(parents=True)
    os.chown(outputs if whose == "outputs" else outputs.parent, OTHER, OTHER)
    door = OutsideDirectory(outputs)
    assert f"belongs to uid {OTHER}" in refused(door)
    with pytest.raises(FileError):
        door.write("file", "text")
    assert f"nothing is written to {outputs}" in (door.safety_warning() or "")
    assert list(outputs.iterdir()) == []
    trusting = OutsideDirectory(outputs, frozenset({OTHER}))
    trusting.write("file", "text")
    assert trusting.safety_warning() is None


@root_only
def test_root_does_not_follow_a_symlink_of_another_user(tmp_path: Path, outputs: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "outputs").symlink_to(outputs)
    os.chown(home, OTHER, OTHER)
    assert f"{home} belongs to uid {OTHER}" in refused(OutsideDirectory(home / "outputs"))
    assert list(outputs.iterdir()) == []


def test_world_writable_directory_is_named(outputs: Path) -> None:
    assert unsafe_directory_reason(outputs) is None
    outputs.chmod(0o777)
    assert (
        unsafe_directory_reason(outputs)
        == f"every user can write to {outputs}: run chmod o-w {outputs}"
    )
    OutsideDirectory(outputs).append("log", "a line")  # warned about, and written
    outputs.chmod(0o1777)
    assert unsafe_directory_reason(outputs) is None
    outputs.chmod(0o755)
    outputs.parent.chmod(0o777)
    assert f"every user can write to {outputs.parent}" in (unsafe_directory_reason(outputs) or "")
    assert unsafe_directory_reason(outputs / "missing" / "below") is not None
