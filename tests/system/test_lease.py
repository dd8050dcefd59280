"""Tests of the life lock: its holders, its survival of deaths, and refused lock files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guard_harness import Make, dead, kill, wait_for

from console.core.model.commands import Verb
from console.core.model.roles import LeaseState
from console.system.locks import lease, ofd_lock
from console.system.locks.lease import LockFileError

HOLD = """
import sys
from pathlib import Path
from console.system.locks import ofd_lock as lock
grant = lock.acquire(Path(sys.argv[1]))
print("taken" if grant else "held", flush=True)
sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Start a process that takes the lock, prints a line, and holds it until its input ends."""
    root = str(Path(ofd_lock.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )


def said(process: subprocess.Popen[str]) -> str:
    """Return the process's next output line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_lock_has_one_holder_and_probing_does_not_take_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert not ofd_lock.is_locked(path), "a file that is not there is not held"
    with holder(path) as first:
        assert said(first) == "taken"
        assert ofd_lock.is_locked(path) and ofd_lock.acquire(path) is None
        assert ofd_lock.lock_holder_pids(path) == (first.pid,)
        first.kill()
    wait_for(lambda: not ofd_lock.is_locked(path))
    grant = ofd_lock.acquire(path)
    assert grant is not None and ofd_lock.lock_holder_pids(path) == (os.getpid(),)
    grant.close()
    assert path.exists() and path.read_bytes() == b"", "never unlinked, never written"


def test_probing_never_makes_the_lock_look_held(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    ofd_lock.open_lock(path)
    probe = (
        "import sys\nfrom pathlib import Path\nfrom console.system.locks import ofd_lock as lock\n"
    )
    probe += "print('on', flush=True)\nwhile True: lock.is_locked(Path(sys.argv[1]))"
    root = str(Path(ofd_lock.__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", probe, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as prober:
        said(prober)
        for _ in range(2000):
            grant = ofd_lock.acquire(path)
            assert grant is not None, "a prober was taken for a holder"
            grant.close()
        assert prober.poll() is None, "the prober has probed all the time"
        prober.kill()


@pytest.mark.parametrize("kind", ["symlink", "dangling", "directory", "fifo", "hard link"])
def test_link_directory_or_fifo_in_place_of_the_lock_is_refused(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "x.lock", tmp_path / "precious"
    if kind != "dangling":
        other.write_text("precious")
    if kind in ("symlink", "dangling"):
        path.symlink_to(other)
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.link(other, path)
    for attempt in (ofd_lock.acquire, ofd_lock.is_locked):
        with pytest.raises(LockFileError, match=r"x\.lock"):
            attempt(path)
    assert kind == "dangling" or other.read_text() == "precious"
    assert lease.read_lease(path, tmp_path / "none").state is LeaseState.UNKNOWN


def test_lock_file_mode_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch(0o644)
    grant = ofd_lock.acquire(path)
    assert grant is not None and path.stat().st_mode & 0o777 == 0o600
    grant.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_lock_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.touch(0o600)
    os.chown(path, 65534, 65534)
    with pytest.raises(LockFileError, match="belongs to uid 65534"):
        ofd_lock.acquire(path)


@pytest.mark.parametrize("record", ["", "{", "[]", "null", '{"identity": "x"}', "\0" * 99])
def test_broken_owner_record_reads_as_none(tmp_path: Path, record: str) -> None:
    (tmp_path / "owner").write_text(record)
    assert lease.read_owner(tmp_path / "owner") is None
    assert lease.read_lease(tmp_path / "x.lock", tmp_path / "owner").state is LeaseState.FREE


def test_lease_survives_the_death_of_the_shim(make: Make) -> None:
    a = make()
    pid = a.ensure().pid
    kill(a.shim())
    wait_for(lambda: dead(a.shim()))
    seen = a.look()
    assert seen.worst_lease.state is LeaseState.HELD and seen.instances[0].leased
    assert a.ensure().pid == pid and not a.duplicates


def test_lease_survives_a_worker_that_closes_its_descriptors(make: Make) -> None:
    a = make(modes="close")
    pid = a.ensure().pid
    wait_for(lambda: a.lines("ready"))
    assert a.look().worst_lease.state is LeaseState.HELD, "the shim holds it too"
    kill(a.shim())
    wait_for(lambda: not ofd_lock.is_locked(a.box.paths.lease("worker")))
    # The lock is free, but the caller that takes the lease observes the role again.
    assert a.ensure().pid == pid
    assert a.do(Verb.ENSURE).pid == pid and not a.duplicates


@pytest.mark.parametrize("how", ["removed", "replaced", "symlink"])
def test_lost_lock_file_starts_no_second_worker(make: Make, how: str) -> None:
    a = make()
    pid = a.ensure().pid
    path = a.box.paths.lease("worker")
    path.unlink()
    if how == "replaced":
        path.touch(0o600)
    elif how == "symlink":
        path.symlink_to("/etc/passwd")
    state = a.look().worst_lease.state
    assert state is (LeaseState.UNKNOWN if how == "symlink" else LeaseState.REPLACED)
    outcome = a.do(Verb.ENSURE)
    assert outcome.pid == pid and outcome.done and not a.duplicates
    if how == "symlink":
        refused = a.do(Verb.RESTART)
        assert not refused.done and "symbolic link" in refused.message and not dead(pid or 0)
    assert a.do(Verb.KILL).done and dead(pid or 0)


def test_ensure_ends_the_leftover_that_holds_an_orphaned_lease(make: Make) -> None:
    a = make(modes="child-session")
    pid = a.ensure().pid
    child = int(wait_for(lambda: a.lines("children"))[0])
    kill(a.shim())
    kill(pid or -1)
    wait_for(lambda: a.look().worst_lease.state is LeaseState.ORPHANED)
    assert a.look().worst_lease.holders == (child,)
    again = a.ensure()
    assert again.pid != pid and dead(child) and not a.duplicates
    assert "leftover" in " ".join(event.reason for event in a.events())
    assert not a.unexplained()


def test_unverified_lock_holder_is_ended_only_with_force(make: Make) -> None:
    a = make()
    a.ensure()
    assert a.do(Verb.KILL).done
    with holder(a.box.paths.lease("worker")) as stranger:
        assert said(stranger) == "taken"
        outcome = a.do(Verb.ENSURE)
        assert not outcome.done and str(stranger.pid) in outcome.message
        assert "--force" in outcome.message and stranger.poll() is None
        assert not a.do(Verb.KILL).done and stranger.poll() is None
        assert a.do(Verb.KILL, force=True).done
        assert stranger.wait(5) < 0
    assert a.ensure().done
