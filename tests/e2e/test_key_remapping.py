"""The operator's own keys are checked before the console opens, and listed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, keys: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "config.toml"
    config.write_text(f"[screen]\nkeys = {keys}\n", encoding="utf-8")
    state = ("--state-dir", str(tmp_path / "state"))
    return subprocess.run(
        [sys.executable, "-m", "console", "--config", str(config), *state, *arguments],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        timeout=60,
        check=False,
    )


def test_config_keys_lists_every_command_with_its_key(tmp_path: Path) -> None:
    from console.ui.keymap import COMMAND_SPECS

    ran = run(tmp_path, '{ ensure = "E", zoom = "+" }', "config", "keys")
    assert ran.returncode == 0, ran.stderr
    rows = ran.stdout.splitlines()
    assert [row.split()[0] for row in rows] == [entry.id for entry in COMMAND_SPECS]
    assert any(row.startswith("ensure       E ") and "(instead of e)" in row for row in rows)
    assert any(row.startswith("zoom         + ") for row in rows)


@pytest.mark.parametrize("command", [("config", "validate"), ("config", "keys")])
def test_invalid_keys_are_refused_with_file_and_setting(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    ran = run(tmp_path, '{ kill = "delete", why = "r" }', *command)
    assert ran.returncode == 2
    assert f"{tmp_path / 'config.toml'}: screen.keys.kill: 'delete' erases" in ran.stderr
    assert "screen.keys.why: 'r' is the key of restart already" in ran.stderr
