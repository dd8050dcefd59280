"""On a full or read-only disk, commands still work and the daemon keeps observing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest


class Disk:
    """A separate disk for the state directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.ballast = place / "ballast"

    def fill(self) -> None:
        """Write until no byte is free."""
        with self.ballast.open("ab", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(b"x" * 4096)

    def free(self) -> None:
        self.ballast.unlink()


@pytest.fixture
def disk(machine: Any) -> Iterator[Disk]:
    """Mount a disk of four megabytes on the box's state directory."""
    machine.directory.mkdir(mode=0o700)
    machine.state.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(machine.state)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    monitors = {name: {"every_s": 0.2} for name in ("queue", "watchdog", "pipeline")}
    hook = ["/bin/sh", "-c", f"cat >> {machine.directory}/told"]
    machine.write(
        monitors={**monitors, "worker": {"every_s": 0.5}, "canary": {"enabled": False}},
        alerts={"look_s": 0.2, "hook": hook},
    )
    yield Disk(machine.state)
    machine.close()
    subprocess.run(["umount", "-l", str(machine.state)], check=True)


def test_kill_and_restart_work_on_a_full_disk(machine: Any, disk: Disk) -> None:
    machine.run("ensure")
    disk.fill()
    (before,) = machine.workers()
    again = machine.run("restart", "--yes")
    assert again.returncode == 0, again.stderr
    assert "not in the ledger" in again.stdout + again.stderr
    assert "disk" in again.stdout + again.stderr
    (after,) = machine.workers()
    assert after != before
    assert machine.run("ensure").returncode == 0
    assert machine.workers() == [after]
    killed = machine.run("kill", "--yes")
    assert killed.returncode == 0, killed.stderr
    assert "so policy may start it again" in killed.stdout + killed.stderr
    assert machine.workers() == []
    assert machine.run("ensure").returncode == 0
    (last,) = machine.workers()
    disk.free()
    assert machine.run("restart", "--yes").returncode == 0
    tokens = [one["token"] for one in machine.lives("started")]
    assert tokens == sorted(set(tokens))
    assert tokens[-1] == 4
    assert machine.workers() != [last]


def test_daemon_keeps_samples_in_memory_until_the_disk_has_room(
    machine: Any, disk: Disk, wait_for: Callable[..., Any]
) -> None:
    machine.run("ensure")
    assert machine.run("daemon", "start").returncode == 0
    wait_for(lambda: samples(machine) > 10)
    disk.fill()
    wait_for(lambda: not grows(machine, wait_for), 20, "the disk is full")
    (notice,) = [one for one in machine.document("status")["notices"] if "disk is full" in one]
    assert str(machine.state) in notice
    told = machine.directory / "told"
    wait_for(lambda: told.exists() and "state.unwritable" in told.read_text(), 20, "the hook")
    alert = next(one for one in map(json.loads, told.read_text().splitlines())
                 if one["key"] == "state.unwritable")  # fmt: skip
    assert str(machine.state) in alert["reason"]
    assert "disk is full" in alert["reason"]
    before = samples(machine)
    disk.free()
    wait_for(lambda: samples(machine) > before + 10, 20, "writing goes on")
    looks = times(machine, "queue")
    gaps = [later - one for one, later in pairwise(looks)]
    assert max(gaps) < 5  # samples taken meanwhile were kept and are stored now
    assert machine.document("daemon", "status")["running"]
    wait_for(lambda: "state.unwritable" not in json.dumps(machine.document("alerts")), 20)
    kept = [one for one in machine.events("noticed") if "kept in memory" in one["reason"]]
    assert kept


def test_daemon_starts_on_a_full_disk(
    machine: Any, disk: Disk, wait_for: Callable[..., Any]
) -> None:
    machine.run("ensure")
    assert machine.run("daemon", "start").returncode == 0
    wait_for(lambda: samples(machine) > 3)
    assert machine.run("daemon", "stop").returncode == 0
    before = samples(machine)
    disk.fill()
    started = machine.run("daemon", "start")
    assert started.returncode == 0, started.stderr
    assert machine.document("daemon", "status")["running"]
    disk.free()
    wait_for(lambda: samples(machine) > before + 10, 20, "writing goes on")


def test_status_shows_the_worker_on_a_read_only_disk(machine: Any, disk: Disk) -> None:
    machine.run("ensure")
    (worker,) = machine.workers()
    status = shlex.join([sys.executable, "-m", "console", *machine.options, "status"])
    readonly = f"mount -o remount,bind,ro {disk.place} && exec {status}"
    said = subprocess.run(
        ["unshare", "--mount", "sh", "-c", readonly],
        capture_output=True, text=True, timeout=60, check=False, env=machine.environment,
    )  # fmt: skip
    assert said.returncode == 3, said.stderr
    assert f"PID {worker}" in said.stdout
    assert f"{machine.state}/store.sqlite: the file system is read-only" in said.stdout


def samples(machine: Any) -> int:
    """Count the samples in the store over a separate connection."""
    return len(times(machine))


def times(machine: Any, monitor: str = "") -> list[float]:
    connection = apsw.Connection(str(machine.state / "store.sqlite"))
    connection.set_busy_timeout(5_000)
    where = "WHERE monitor = ?" if monitor else ""
    sql = f"SELECT at FROM samples {where} ORDER BY at"
    found = [row[0] for row in connection.execute(sql, (monitor,) if monitor else ()).fetchall()]
    connection.close()
    return found


def grows(machine: Any, wait_for: Callable[..., Any]) -> bool:
    """Tell whether the number of samples grows within a second."""
    before = samples(machine)
    try:
        wait_for(lambda: samples(machine) > before, 1.0)
    except AssertionError:
        return False
    return True


def test_restart_policy_waits_until_the_store_is_writable(
    machine: Any, disk: Disk, wait_for: Callable[..., Any]
) -> None:
    machine.run("ensure")
    assert machine.run("daemon", "start").returncode == 0
    wait_for(lambda: samples(machine) > 10)
    (first,) = machine.workers()
    disk.fill()
    os.kill(first, signal.SIGKILL)
    log = machine.directory / "outputs" / "worker_monitor.log"
    wait_for(lambda: "the ledger cannot be written" in log.read_text(), 20)
    assert machine.workers() == []
    disk.free()
    (second,) = wait_for(machine.workers, 20, "policy repairs once it can remember")
    assert second != first
    wait_for(lambda: [one for one in machine.lives("died") if one["pid"] == first], 20)
