"""Tests of the state directory's location, permissions and file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.system.paths import (
    PathError,
    Paths,
    check_ancestors,
    check_private,
    default_config_file,
    default_state_directory,
    network_filesystem,
)


def test_created_directories_are_private(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "deep" / "state")
    before = os.umask(0)
    try:
        paths.create_directories()
        paths.create_directories()
    finally:
        os.umask(before)
    for directory in (paths.state, paths.locks, paths.logs):
        assert directory.stat().st_mode & 0o777 == 0o700
        check_private(directory)


def test_every_path_lies_in_the_state_directory(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    for path in (
        paths.store, paths.lease("worker"), paths.owner("worker"), paths.command_lock("worker"),
        paths.log("worker", "err"), paths.heartbeat,
    ):  # fmt: skip
        assert path.is_relative_to(tmp_path)
    assert len({paths.lease("a"), paths.owner("a"), paths.command_lock("a"), paths.lease("b")}) == 4


def test_directory_writable_by_other_users_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PathError, match="chmod go-w"):
        check_private(tmp_path)
    tmp_path.chmod(0o755)
    check_private(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    check_private(link)
    with pytest.raises(PathError, match="not a directory"):
        check_private(Path("/dev/null"))
    with pytest.raises(PathError, match="No such file"):
        check_private(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(PathError, match="belongs to uid 65534"):
        check_private(tmp_path)


STRANGER = 12345


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_state_below_a_directory_writable_by_other_users_is_refused(tmp_path: Path) -> None:
    above = tmp_path / "above"
    state = above / "between" / "state"
    Paths(state).create_directories()
    above.chmod(0o777)
    with pytest.raises(PathError, match=f"{above}: every user may write .* chmod o-w {above}"):
        Paths(state).create_directories()
    above.chmod(0o1777)  # in a sticky directory only its owner can rename an entry
    Paths(state).create_directories()
    os.chown(above, STRANGER, STRANGER)
    with pytest.raises(PathError, match=f"{above}: belongs to uid {STRANGER}"):
        Paths(state).create_directories()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_link_to_the_state_is_followed_if_its_owner_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "b").mkdir()
    link = tmp_path / "b" / "link"
    link.symlink_to("../real/state")
    state = link / "x" / ".." / "box"
    (tmp_path / "real" / "state" / "x").mkdir(parents=True, mode=0o700)
    Paths(state).create_directories()
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    with pytest.raises(PathError, match=f"{link}: is a link of uid {STRANGER}"):
        Paths(state).create_directories()
    link.unlink()
    link.symlink_to(tmp_path / "real" / "state")
    (tmp_path / "real").chmod(0o707)  # the directories of the link's target are checked, too
    with pytest.raises(PathError, match=f"{tmp_path / 'real'}: every user may write"):
        Paths(state).create_directories()
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(PathError, match="too many"):
        check_ancestors(state)


def test_uncreatable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "state", Path("/proc/nowhere")):
        with pytest.raises(PathError, match=str(place)):
            Paths(place).create_directories()


def imitate(mounts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the machine's mount table by a file."""
    real = Path.read_text

    def read(self: Path, *arguments: str) -> str:
        return real(mounts if str(self) == "/proc/self/mountinfo" else self, *arguments)

    monkeypatch.setattr(Path, "read_text", read)


def test_network_filesystem_is_recognised_by_its_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert network_filesystem(tmp_path) is None
    assert network_filesystem(Path("/proc")) is None
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:40 / /net rw - nfs4 server:/x rw\n"
        "24 22 0:41 / /net/a\\040b rw - cifs //server/y rw\n"
        "25 22 0:42 / /net/local rw - ext4 /dev/sdb rw\n"
    )
    imitate(mounts, monkeypatch)
    kinds = {
        "/net/state": "nfs4", "/net": "nfs4", "/network": None, "/net/local/x": None,
        "/net/a b/c": "cifs",
    }  # fmt: skip
    assert {place: network_filesystem(Path(place)) for place in kinds} == kinds


NETWORK = """nfs nfs4 cifs smb3 9p afs ceph lustre gfs2 ocfs2 beegfs glusterfs virtiofs vboxsf fuse
fuse.sshfs fuse.glusterfs fuse.s3fs fuse.rclone fuse.gvfsd-fuse fuse.ceph fuse.what_comes_next"""
LOCAL = (
    "ext4 xfs btrfs zfs f2fs vfat tmpfs overlay fuseblk fuse.ext4 fuse.fuse-overlayfs fuse.ntfs-3g"
)


@pytest.mark.parametrize("kind", [*NETWORK.split(), *LOCAL.split()])
def test_filesystem_type_is_classified_as_network_or_local(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:40 / /net rw - {kind} x rw\n")
    imitate(mounts, monkeypatch)
    assert network_filesystem(Path("/net/state")) == (kind if kind in NETWORK.split() else None)


def test_default_paths_follow_the_xdg_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    assert default_state_directory() == tmp_path / "s" / "rpa-console"
    assert default_config_file() == tmp_path / "c" / "rpa-console" / "config.toml"
