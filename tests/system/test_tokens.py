"""Tokens rise, whatever becomes of the store, of their file, and of those who ask at one time."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.core.model import Identity, Moment, Owner
from console.system import lease, tokens
from console.system.lock import LeaseError
from console.system.paths import Paths
from console.system.store import Store


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "state")
    made.prepare()
    return made


def test_they_rise_for_each_role(paths: Paths) -> None:
    store = Store(paths.store)
    assert [tokens.grant(paths, store, name) for name in ("a", "a", "b", "a")] == [1, 2, 1, 3]
    store.close()


def test_a_new_store_does_not_begin_anew(paths: Paths) -> None:
    first = Store(paths.store)
    assert [tokens.grant(paths, first, "worker") for _ in range(3)] == [1, 2, 3]
    first.close()
    for file in paths.state.glob("store.sqlite*"):
        file.unlink()
    assert tokens.grant(paths, Store(paths.store), "worker") == 4


@pytest.mark.parametrize("lost", [None, b"", b"garbage", b"\xff" * 20])
def test_a_lost_file_is_made_up_for_by_store_and_owners(paths: Paths, lost: bytes | None) -> None:
    store = Store(None)
    store.keep_token("worker", 5)
    for _ in range(2):
        if lost is None:
            paths.token("worker").unlink(missing_ok=True)
        else:
            paths.token("worker").write_bytes(lost)
        last = tokens.grant(paths, store, "worker")
    assert last == 7
    lock = paths.lease("worker.2")
    lock.touch(mode=0o600)
    owner = Owner(Identity(1, 1, "b"), 40, Moment(1.0), None, "cli:ana")
    lease.write_owner(paths.owner("worker.2"), owner, lock)
    paths.token("worker").unlink()
    assert tokens.grant(paths, store, "worker") == 41


def test_no_two_get_the_same(paths: Paths) -> None:
    """The leases of a role's slots are several: they do not keep two from asking at once."""

    def ask(_: int) -> int:
        return tokens.grant(paths, Store(None), "worker")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(ask, range(64))) == list(range(1, 65))


@pytest.fixture
def small(tmp_path: Path) -> Paths:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield Paths(disk)  # type: ignore[misc]
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_lets_them_rise_or_refuses(small: Paths) -> None:
    small.prepare()
    assert tokens.grant(small, Store(None), "worker") == 1
    fill(small.state)
    assert [tokens.grant(small, Store(None), "worker") for _ in range(2)] == [2, 3]
    with pytest.raises(LeaseError, match="token cannot be kept: No space left"):
        tokens.grant(small, Store(None), "another")


def fill(directory: Path) -> None:
    """Until not a byte is left."""
    with (directory / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
