"""An unreadable state is reported with exit code 3 and left unchanged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest


def broken(box: Any) -> str:
    """Run `status` on an unreadable state, check its exit code, and return its message."""
    said = box.run("status")
    assert (said.returncode, said.stdout) == (3, "")
    assert "Traceback" not in said.stderr
    assert str(box.state) in said.stderr
    return str(said.stderr)


GARBAGE = b"this was a database once, before somebody wrote into it" * 100


def ruin(box: Any) -> Path:
    """Overwrite the store with garbage, and return its path."""
    store: Path = box.state / "store.sqlite"
    for leftover in box.state.glob("store.sqlite*"):
        leftover.unlink()
    store.write_bytes(GARBAGE)
    return store


def test_status_reports_a_damaged_store_and_shows_running_workers(box: Any) -> None:
    box.run("ensure")
    store = ruin(box)
    said = box.run("status")
    assert said.returncode == 3
    assert f"{store}: is damaged or not a database" in said.stdout
    assert "daemon start` moves it aside" in said.stdout
    (worker,) = box.workers()
    assert f"PID {worker}" in said.stdout
    (role,) = [one for one in box.document("status")["roles"] if one["name"] == "worker"]
    assert [one["pid"] for one in role["instances"]] == [worker]
    for command in ("events", "why", "report"):
        assert "damaged" in box.run(command).stderr
    assert box.run("restart", "--dry-run").returncode == 0
    assert store.read_bytes() == GARBAGE
    assert [*box.state.glob("*damaged*")] == []


@pytest.mark.parametrize("command", [["daemon", "start"], ["restart", "--yes"]], ids=" ".join)
def test_writing_command_moves_a_damaged_store_aside(box: Any, command: list[str]) -> None:
    box.run("ensure")
    ruin(box)
    done = box.run(*command)
    assert done.returncode == 0, done.stderr
    (kept,) = box.state.glob("store.damaged-*.sqlite")
    assert kept.read_bytes() == GARBAGE
    (told,) = [one for one in box.events("noticed") if one["data"].get("kept") == str(kept)]
    assert "sqlite3" in told["reason"]
    assert len(box.workers()) == 1
    notices = box.document("status")["notices"]
    assert any(str(kept) in one and ".recover" in one for one in notices)
    kept.unlink()
    assert not any("damaged" in one for one in box.document("status")["notices"])
    if command[0] == "restart":  # the token is higher than the last one in the damaged store
        assert [one["token"] for one in box.lives("started")] == [1, 2]


def test_store_of_a_newer_schema_version_is_refused(box: Any) -> None:
    box.run("ensure")
    connection = apsw.Connection(str(box.state / "store.sqlite"))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    assert "written by another version (schema 99" in broken(box)


def test_state_directory_writable_by_others_is_refused(box: Any) -> None:
    box.run("ensure")
    box.state.chmod(0o777)
    assert f"chmod go-w {box.state}" in broken(box)
    box.state.chmod(0o700)


def test_file_in_place_of_the_state_directory_is_refused(box: Any) -> None:
    box.state.write_text("not a directory")
    assert box.run("ensure").returncode == 3
    assert "not a directory" in box.run("ensure").stderr.lower()


AS_NOBODY = """
import encodings.utf_8_sig, os, sys, tempfile, tomllib
from console.cli.main import main, rpa_console
with tempfile.TemporaryDirectory() as place:  # imports what nobody could not read any more
    rpa_console.main(["--state-dir", place, "status", "--json"], standalone_mode=False)
    rpa_console.main(["--state-dir", place, "ensure"], standalone_mode=False)
sys.stdout = open(1, "w", closefd=False)
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_state_of_another_user_is_refused_with_the_owner(box: Any, tmp_path: Path) -> None:
    box.run("ensure")
    for directory in (box.directory, tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    box.config.chmod(0o644)
    assert _as_nobody(box, *box.options) == (3, "Permission denied")
    box.state.chmod(0o755)
    assert _as_nobody(box, *box.options) == (3, "belongs to uid 0, not to you")
    (box.home / ".config" / "rpa-console").mkdir(parents=True)
    box.home.chmod(0o700)
    assert _as_nobody(box) == (2, "Permission denied")


def _as_nobody(box: Any, *options: str) -> tuple[int, str]:
    """Run `status` as another user, and return its exit code and reason."""
    said = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *options, "status"],
        capture_output=True,
        text=True,
        env=box.environment,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in said.stderr
    return said.returncode, said.stderr.strip().splitlines()[-1].rpartition(": ")[2]
