"""Fencing tokens increase despite a lost store, a lost token file and concurrent callers."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.core.model.processes import Identity
from console.core.model.roles import Owner
from console.core.model.time import Moment
from console.system.locks import lease
from console.system.locks.ofd_lock import LockFileError
from console.system.paths import Paths
from console.system.store import fencing_tokens
from console.system.store.store import Store


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path / "state")
    made.create_directories()
    return made


def test_tokens_increase_for_each_role(paths: Paths) -> None:
    store = Store(paths.store)
    assert [fencing_tokens.next_token(paths, store, name) for name in ("a", "a", "b", "a")] == [
        1,
        2,
        1,
        3,
    ]
    store.close()


def test_tokens_continue_after_the_store_is_replaced(paths: Paths) -> None:
    first = Store(paths.store)
    assert [fencing_tokens.next_token(paths, first, "worker") for _ in range(3)] == [1, 2, 3]
    first.close()
    for file in paths.state.glob("store.sqlite*"):
        file.unlink()
    assert fencing_tokens.next_token(paths, Store(paths.store), "worker") == 4


@pytest.mark.parametrize("lost", [None, b"", b"garbage", b"\xff" * 20, b"9" * 20])
def test_lost_token_file_is_recovered_from_store_and_owner_records(
    paths: Paths, lost: bytes | None
) -> None:
    store = Store(None)
    store.save_token("worker", 5)
    for _ in range(2):
        if lost is None:
            paths.token("worker").unlink(missing_ok=True)
        else:
            paths.token("worker").write_bytes(lost)
        last = fencing_tokens.next_token(paths, store, "worker")
    assert last == 7
    lock = paths.lease("worker.2")
    lock.touch(mode=0o600)
    owner = Owner(Identity(1, 1, "b"), 40, Moment(1.0), None, "cli:ana")
    lease.write_owner(paths.owner("worker.2"), owner, lock)
    paths.token("worker").unlink()
    assert fencing_tokens.next_token(paths, store, "worker") == 41


def test_concurrent_callers_get_distinct_tokens(paths: Paths) -> None:
    """Each slot of a role has its own lease, so two callers can ask for a token at once."""

    def ask(_: int) -> int:
        return fencing_tokens.next_token(paths, Store(None), "worker")

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


def test_full_disk_increments_known_tokens_and_refuses_new_ones(small: Paths) -> None:
    small.create_directories()
    assert fencing_tokens.next_token(small, Store(None), "worker") == 1
    fill(small.state)
    assert [fencing_tokens.next_token(small, Store(None), "worker") for _ in range(2)] == [2, 3]
    with pytest.raises(LockFileError, match="token cannot be kept: No space left"):
        fencing_tokens.next_token(small, Store(None), "another")


def fill(directory: Path) -> None:
    """Write to a file until the disk is full."""
    with (directory / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)


FINE = {"identity": "7:8:b", "token": 1, "since": [1.0, 2.0, "b"], "shim": None, "lock": [1, 2]}
BAD = [
    ("identity", "5"), ("identity", "null"), ("identity", '"5"'), ("identity", '"x:y:b"'),
    ("identity", f'"{"9" * 5000}:8:b"'), ("token", "1e400"), ("token", "1" + "0" * 26),
    ("token", "-1"), ("token", '"x"'), ("since", "3"), ("since", "[1, 2]"),
    ("since", '["a", 2, "b"]'),
    ("since", '[1e400, 2, "b"]'), ("shim", "5"), ("shim", '"7"'), ("lock", "5"),
    ("lock", "[1e400, 2]"), ("lock", "[1]"), ("lock", "[null, 2]"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), BAD)
def test_damaged_owner_record_reads_as_none(paths: Paths, key: str, value: str) -> None:
    record = paths.owner("worker")
    record.write_text(json.dumps(FINE))
    assert lease.read_owner(record) is not None
    damaged = json.dumps(FINE).replace(f'"{key}": {json.dumps(FINE[key])}', f'"{key}": {value}')
    record.write_text(damaged)
    assert lease.read_owner(record) is None
    assert lease.read_lease(paths.lease("worker"), record).owner is None
    store = Store(None)
    assert fencing_tokens.next_token(paths, store, "worker") == 1


@pytest.mark.parametrize("text", ["", "[]", "5", "null", "{", "[" * 100_000, '{"identity": 1}'])
def test_file_without_an_owner_record_reads_as_none(paths: Paths, text: str) -> None:
    paths.owner("worker").write_text(text)
    assert lease.read_owner(paths.owner("worker")) is None


def test_implausible_token_of_owner_or_store_is_ignored(paths: Paths) -> None:
    paths.owner("worker").write_text(json.dumps(FINE | {"token": 2**63 - 1}))
    store = Store(None)
    store.save_token("worker", 2**63 - 1)
    assert fencing_tokens.next_token(paths, store, "worker") == 1
