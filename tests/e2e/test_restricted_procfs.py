"""A restricted or changed `/proc` is reported, and no worker counts as dead."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wait = Callable[..., Any]
LESS = "mount -t proc -o subset=pid proc /proc"
OTHER_BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id'


def within(
    box: Any, place: Path, mount: str, *arguments: str, own: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command on the box in a new mount namespace, after a mount."""
    boot = place / "boot_id"
    boot.write_text("11111111-2222-3333-4444-555555555555\n")
    spaces = ["-m", "-p", "-f"] if own else ["-m"]
    script = f'{mount} || exit 99; exec "$@"'
    program = [sys.executable, "-m", "console", *box.options, *arguments]
    done = subprocess.run(
        ["unshare", *spaces, "sh", "-c", script, str(boot), *program],
        check=False,
        capture_output=True,
        text=True,
        env=box.environment,
        cwd=box.home,
        timeout=60,
    )
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip(f"no such mount here: {done.stderr.strip()}")
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("command", [["status"], ["ensure"], ["kill", "--yes", "worker"]])
def test_unreadable_boot_id_is_reported(box: Any, tmp_path: Path, command: list[str]) -> None:
    done = within(box, tmp_path, LESS, *command, own=True)
    assert done.returncode != 0
    assert "/proc/sys/kernel/random/boot_id: cannot be read" in done.stderr


def test_different_boot_id_is_not_taken_for_another_boot(
    box: Any, tmp_path: Path, wait_for: Wait
) -> None:
    """A container may show its own boot id. PID, start ticks and boot time stay the same."""
    assert box.run("ensure").returncode == 0
    assert box.run("daemon", "start").returncode == 0
    (pid,) = box.workers()
    told = json.loads(within(box, tmp_path, OTHER_BOOT, "status", "--json").stdout)
    (worker,) = told["roles"][0]["instances"]
    assert (worker["pid"], worker["leased"]) == (pid, True)
    assert told["daemon"]["running"]
    done = within(box, tmp_path, OTHER_BOOT, "ensure")
    assert done.returncode == 0 and str(pid) in done.stdout
    done = within(box, tmp_path, OTHER_BOOT, "daemon", "stop")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not box.document("daemon", "status")["running"])
    assert box.workers() == [pid] and box.lives("died") == []
