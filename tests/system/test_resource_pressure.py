"""Tests of the warnings about low disk space and memory, and of their check interval."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from console.system import daemon_role
from console.system.host import resource_pressure
from console.system.host.resource_pressure import (
    ResourcePressure,
    disk_warning,
    is_low,
    memory_warning,
)
from console.system.paths import Paths
from console.system.store import disk_space

G = 1 << 30


@pytest.mark.parametrize(
    ("left", "whole", "told"),
    [(2 * G, 100 * G, False), (0.9 * G, 100 * G, True), (0.9 * G, 4 * G, False), (0, G, True)],
)
def test_is_low_requires_a_small_share_and_a_small_amount(
    left: float, whole: float, told: bool
) -> None:
    assert is_low(left, whole) is told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MemTotal: 8388608 kB\nMemAvailable: 102400 kB\n", "100M of 8.0G left"),
        ("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n", ""),
        ("MemTotal: 8388608 kB\n", ""),
        ("MemTotal:\nMemAvailable: x kB\n", ""),
    ],
)
def test_low_memory_is_warned_about(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "meminfo"
    file.write_text(text, encoding="ascii")
    said = memory_warning(file)
    assert said.endswith(words) and bool(said) == bool(words)
    assert memory_warning(tmp_path / "nowhere") == ""


def test_full_disk_is_warned_about_after_the_check_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        looked = ResourcePressure()
        before = looked.read_warnings(tmp_path)
        assert not any("disk" in one for one in before)
        (tmp_path / "ballast").write_bytes(b"x" * (4 * 1024 * 1024 - 100 * 1024))
        assert "is nearly full: " in disk_warning(tmp_path) and "of 4.0M left" in disk_warning(
            tmp_path
        )
        assert looked.read_warnings(tmp_path) == before  # the check interval has not passed
        monkeypatch.setattr(resource_pressure, "CHECK_INTERVAL_S", 0.0)
        assert disk_warning(tmp_path) in looked.read_warnings(tmp_path)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    assert disk_warning(tmp_path / "nowhere") == ""


def test_disk_without_inodes_is_named_and_heartbeats_continue(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "nr_inodes=20,mode=0700", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk without inodes can only be mounted by root")
    try:
        paths = Paths(tmp_path)
        paths.create_directories()
        daemon_role.write_heartbeat(paths)
        first = daemon_role.read_heartbeat(paths)
        with pytest.raises(OSError):
            for number in range(100):
                (tmp_path / str(number)).touch()
        assert disk_space.write_refusal(tmp_path) == disk_space.NO_INODES
        assert "inodes left" in disk_warning(tmp_path)
        daemon_role.write_heartbeat(paths)
        second = daemon_role.read_heartbeat(paths)
        assert first is not None and second is not None and second.tick > first.tick
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
