"""Store failures: damaged, removed or locked files and full disks are reported; no row is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from store_helpers import refused, sample

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.system import clock
from console.system.store.sqlite import busy_handler
from console.system.store.store import Store, StoreError, sqlite_version


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def test_removed_store_is_recreated_by_the_next_write(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.sqlite"
    first, second = Store(path), Store(path)
    first.add_samples([sample(1)])
    before = first.change_counter()
    for leftover in tmp_path.iterdir():
        leftover.unlink()
    second.add_samples([sample(2)])
    first.add_samples([sample(3)])
    assert first.generation == 1
    assert first.change_counter() != before
    assert [one.moment.at for one in first.samples("queue")] == [2, 3]
    first.close()
    second.close()
    assert {item.name for item in tmp_path.iterdir()} == {"store.lock", "store.sqlite"}


@pytest.mark.parametrize("content", [b"garbage " * 1000, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_damaged_file_is_reported_and_left_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)
    assert "damaged or not a database" in refused(lambda: Store(path))
    assert path.read_bytes() == content


def test_find_damage_detects_overwritten_pages(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    store.add_samples([sample(n) for n in range(2_000)])
    store.close()
    with path.open("r+b") as file:
        file.seek(40_960)
        file.write(os.urandom(40_960))
    store = Store(path)
    try:
        damage = store.find_damage()
        assert damage
    except StoreError as error:
        assert "damaged" in str(error)
    finally:
        store.close()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    Store(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    assert "written by another version (schema 7" in refused(lambda: Store(path))


def test_directory_link_or_missing_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    assert "directory" in refused(lambda: Store(tmp_path / "directory"))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    refused(lambda: Store(tmp_path / "link"))
    assert not (tmp_path / "target").exists()
    assert "No such file" in refused(lambda: Store(tmp_path / "nowhere" / "store"))


def test_store_files_are_private_despite_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(tmp_path / "store.sqlite")
        store.add_samples([sample(1)])
        modes = {item.name: item.stat().st_mode & 0o777 for item in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes


def test_locked_store_is_reported_and_works_after_unlock(store: Store, tmp_path: Path) -> None:
    store._connection.set_busy_handler(busy_handler(0.3))  # five seconds in production
    other = apsw.Connection(str(tmp_path / "store.sqlite"))
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):  # each write waits the full time again
        began = clock.tick()
        assert "kept it locked" in refused(lambda: store.add_samples([sample(1)]))
        assert clock.tick() - began >= 0.3
    assert store.samples("queue") == []  # readers are never locked out
    other.execute("ROLLBACK")
    other.close()
    store.add_samples([sample(2)])


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of one megabyte, or skip the test."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk_is_reported_without_losing_rows(small: Path) -> None:
    store = Store(small / "store.sqlite")
    block, acked = "x" * 3_000, 0
    with pytest.raises(StoreError, match="the disk is full"):
        while acked < 1_000:
            store.add_samples([Sample("queue", Moment(float(acked)), {"text": block})])
            acked += 1
    assert 10 < acked < 1_000
    assert len(store.samples("queue")) == acked
    assert "the disk is full" in refused(
        lambda: store.add_samples([Sample("queue", Moment(0.0), {"text": block * 10})])
    )
    subprocess.run(["mount", "-o", "remount,size=4m", str(small)], check=True)
    store.add_samples([Sample("queue", Moment(1e9), {"text": block})])
    assert store.find_damage() is None
    assert len(store.samples("queue")) == acked + 1
    store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a mount read-only")
def test_read_only_disk_is_reported(small: Path) -> None:
    store = Store(small / "store.sqlite")
    store.add_samples([sample(1)])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    assert "read-only" in refused(lambda: Store(small / "store.sqlite")).lower()
    subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
    store = Store(small / "store.sqlite")
    assert len(store.samples("queue")) == 1
    store.close()


def test_sqlite_version_is_safe_for_concurrent_writers() -> None:
    assert tuple(int(part) for part in sqlite_version().split(".")) >= (3, 51, 3)
