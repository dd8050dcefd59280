"""The caller's environment: no home, closed descriptors, another locale, another box."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STRANGER = "12345"
"""A uid without an entry in the user database."""


def nobody(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an account without an entry in the user database."""
    mapped = ["unshare", "--user", f"--map-user={STRANGER}", f"--map-group={STRANGER}"]
    probe = subprocess.run([*mapped, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("no user namespace here")
    return subprocess.run(
        [*mapped, sys.executable, "-P", str(ROOT / "console" / "__main__.py"), *arguments],
        env={"PATH": "/usr/bin:/bin", **environment}, cwd="/", input="",
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        "status", "status --json", "ensure", "kill --yes", "events", "why", "report", "alerts",
        "daemon start", "daemon status", "daemon install", "daemon reload", "doctor",
        "baseline status", "config path", "config init",
    ],
)  # fmt: skip
def test_missing_home_is_reported_with_the_options_to_set(command: str) -> None:
    ran = nobody(*command.split())
    assert (ran.returncode, ran.stdout) == (2, ""), ran.stderr
    assert ran.stderr.startswith("rpa-console: no home directory: HOME is not set")
    assert f"uid {STRANGER} has none" in ran.stderr
    assert "--state-dir" in ran.stderr or "--config" in ran.stderr


def test_named_directory_replaces_a_missing_home(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ran = nobody("--state-dir", str(state), "status", "--json")
    assert json.loads(ran.stdout)["box"] == str(state), ran.stderr
    assert nobody("--state-dir", str(state), "doctor").returncode in (0, 1)
    assert nobody("config", "show").returncode == 0
    ran = nobody("config", "path", XDG_CONFIG_HOME=str(tmp_path))
    assert ran.stdout == f"{tmp_path}/rpa-console/config.toml\n"


def test_empty_home_counts_as_missing(tmp_path: Path) -> None:
    assert nobody("status", HOME="").returncode == 2
    assert nobody("daemon", "install", HOME="").returncode == 2


def test_path_that_is_not_utf8_is_refused(machine: Any) -> None:
    for option in ("--state-dir", "--config"):
        ran = machine.bare(option, os.fsdecode(b"/tmp/\xff"), "status")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "not valid UTF-8" in ran.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_commands_work_with_closed_standard_descriptors(box: Any, closed: str) -> None:
    """A lock or pipe that took one of these numbers would be replaced in a child process."""
    line = f'"$@" {closed}'
    command = [sys.executable, "-m", "console", *box.options]
    for words, left in ((["ensure"], 1), (["daemon", "start"], 1), (["kill", "--yes"], 0)):
        ran = subprocess.run(
            ["sh", "-c", line, "sh", *command, *words], env=box.environment,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert len(box.workers()) == left


@pytest.mark.skipif(shutil.which("localedef") is None, reason="no localedef")
@pytest.mark.parametrize(("name", "charmap"), [("de_DE", "ISO-8859-1"), ("ko_KR", "EUC-KR")])
def test_commands_work_in_locales_that_are_not_utf8(
    box: Any, tmp_path: Path, name: str, charmap: str
) -> None:
    locales = tmp_path / "locales"
    locales.mkdir()
    made = ["localedef", "-i", name, "-f", charmap, str(locales / f"{name}.x")]
    if subprocess.run(made, capture_output=True, check=False).returncode > 1:
        pytest.skip(f"no sources of {name}")
    box.state = box.directory / "상태 ü"
    box.environment |= {"LC_ALL": f"{name}.x", "LOCPATH": str(locales)}
    for words in (["daemon", "start"], ["ensure"]):
        ran = subprocess.run(
            [sys.executable, "-m", "console", *box.options, *words],
            env=box.environment, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert b"started" in ran.stdout
    assert (box.state / "store.sqlite").exists()
    assert len(box.document("status")["roles"][0]["instances"]) == 1
    for words in (["kill", "--yes"], ["daemon", "stop"]):
        assert box.run(*words).returncode == 0
    assert box.document("status")["roles"][0]["instances"] == []


# --- two boxes --------------------------------------------------------------------------------


def test_daemon_install_writes_one_unit_per_box(machine: Any) -> None:
    places = []
    for state in ("a", "b", "a b"):
        ran = machine.bare("--state-dir", str(machine.home / state), "daemon", "install")
        assert ran.returncode == 0, ran.stderr
        path = Path(ran.stdout.strip())
        assert f'"{machine.home / state}"' in path.read_text()
        assert f"enable --now {path.name}\n" in ran.stderr
        places.append(path)
    default = machine.bare("daemon", "install")
    assert default.stdout.endswith("/rpa-console-monitors.service\n")
    assert len({*places, Path(default.stdout.strip())}) == 4
    again = machine.bare("--state-dir", str(machine.home / "a"), "daemon", "install")
    assert (again.returncode, again.stdout) == (0, f"{places[0]}\n")


def test_suggested_commands_name_the_options_of_this_box(machine: Any, wait_for: Any) -> None:
    machine.write()
    state = machine.home / "it's a box"
    options = f"--config {machine.config} --state-dir '{machine.home}/it'\\''s a box'"
    given = ["--config", str(machine.config), "--state-dir", str(state)]
    installed = machine.bare(*given, "daemon", "install")
    assert f"\n  rpa-console {options} daemon stop; " in installed.stderr
    assert f"rpa-console {options} daemon start" in machine.bare(*given, "status").stdout
    assert f"rpa-console {options} status" in machine.bare(*given).stderr
    assert "(start it: rpa-console daemon start)" in machine.bare("status").stdout


def test_daemon_start_reports_a_sigstopped_daemon(box: Any) -> None:
    box.run("daemon", "start")
    pid = json.loads(box.run("daemon", "status", "--json").stdout)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        ran = box.run("daemon", "start")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert "but it is stopped" in ran.stderr
        assert f"kill -CONT {pid}" in ran.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
