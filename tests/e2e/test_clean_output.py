"""Commands escape control characters in the names of paths and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NAME = "\x1b]0;PWN\x07\u202e"
COMMANDS = (
    "status", "status --json", "doctor", "doctor --json", "config show", "config validate",
    "config path", "config init", "report", "report --json", "events --json", "why", "alerts",
    "ensure --dry-run", "daemon status", "daemon install", "daemon start", "daemon stop",
    "restart nosuch\x1b[2J\u202e", "\x1b[2J\u009b", "kill --dry-run --json",
)  # fmt: skip


def obeyed(text: str) -> list[str]:
    return [char for char in text if char != "\n" and not char.isprintable()]


@pytest.mark.parametrize("valid", [True, False])
def test_output_escapes_control_characters_of_a_directory_name(
    machine: Any, tmp_path: Path, valid: bool
) -> None:
    machine.directory = tmp_path / NAME
    machine.config, machine.state = machine.directory / "c.toml", machine.directory / "state"
    machine.write()
    if not valid:
        machine.config.write_text("[roles.worker]\nmatch = 5\n")
    for command in COMMANDS:
        ran = machine.run(*command.split(" "), env={"XDG_CONFIG_HOME": str(tmp_path / NAME)})
        assert obeyed(ran.stdout + ran.stderr) == [], command


def test_json_escapes_process_arguments_and_keeps_korean_readable(
    machine: Any,
) -> None:
    machine.write()
    script = machine.directory / "rpa_worker.py"
    argv = [sys.executable, str(script), "\u009b2J", "\u202e", "\U000e0041", "한국어"]
    worker = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=os.environ | {"LANG": "C.UTF-8"})
    try:
        ran = machine.run("status", "--json", env={"PYTHONUTF8": "1"})
        assert obeyed(ran.stdout) == []
        assert "한국어" in ran.stdout
        assert "\\u009b2J \\u202e \\udb40\\udc41" in ran.stdout
        (role, *_) = json.loads(ran.stdout)["roles"]
        assert "\u009b2J \u202e \U000e0041 한국어" in role["instances"][0]["command"]
    finally:
        worker.kill()
        worker.wait()
