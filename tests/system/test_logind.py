"""Tests of whether a log-out ends the daemon, by logind's configuration files."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from console.cli.commands.doctor import logout_survival
from console.system.host import logind

MAIN, YES = "etc/logind.conf", "[Login]\nKillUserProcesses=yes\n"


@pytest.mark.parametrize(
    ("files", "ended"),
    [
        ({}, False),
        ({MAIN: "[Login]\n#KillUserProcesses=yes\n; KillUserProcesses=yes\n"}, False),
        ({MAIN: "KillUserProcesses=yes\n[Other]\nKillUserProcesses=yes\n"}, False),
        ({MAIN: YES}, True),
        ({MAIN: "[Login]\n KillUserProcesses = On \n"}, True),
        ({"lib/logind.conf": YES}, True),
        ({"lib/logind.conf": YES, MAIN: "[Login]\n"}, False),
        ({MAIN: YES, "lib/logind.conf.d/a.conf": "[Login]\nKillUserProcesses=no\n"}, False),
        ({"lib/logind.conf.d/a.conf": YES, "etc/logind.conf.d/a.conf": ""}, False),
        ({"etc/logind.conf.d/a.conf": "[Login]\nKillUserProcesses=0",
          "lib/logind.conf.d/b.conf": YES}, True),
        ({MAIN: YES + "KillExcludeUsers=bo ana\n"}, False),
        ({MAIN: YES + "KillExcludeUsers=ana\nKillExcludeUsers=\n"}, True),
        ({MAIN: YES + "KillOnlyUsers=bo\n"}, False),
        ({MAIN: "[Login]\nKillOnlyUsers=bo\nKillOnlyUsers=ana\n"}, True),
        ({MAIN: YES + "\xff\x00\nKillUserProcesses\n=\n"}, True),
        ({"etc/logind.conf.d/a.conf/no file": ""}, False),
    ],
)  # fmt: skip
def test_kill_user_processes_is_read_from_logind_files(
    files: dict[str, str], ended: bool, tmp_path: Path
) -> None:
    roots = [tmp_path / "lib", tmp_path / "etc"]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="latin-1")
    assert logind.kills_user_processes("ana", roots) == ended


def test_root_is_excluded_unless_kill_exclude_users_is_set(tmp_path: Path) -> None:
    for spared, ended in (
        ("", False),
        ("KillExcludeUsers=\n", True),
        ("KillExcludeUsers=bo", True),
    ):
        (tmp_path / "logind.conf").write_text(YES + spared)
        assert logind.kills_user_processes("root", [tmp_path]) == ended


def test_current_user_name_ignores_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("LOGNAME", "somebody")
    name = logind.current_user_name()
    assert name == pwd.getpwuid(os.getuid()).pw_name != "somebody"
    assert not logind.is_lingering(name, tmp_path)
    (tmp_path / name).touch()
    assert logind.is_lingering(name, tmp_path)


@pytest.mark.parametrize(
    ("ended", "installed", "lingers", "well", "advice"),
    [
        (False, False, False, True, ""),
        (False, False, True, True, ""),
        (False, True, False, False, "loginctl enable-linger ana"),
        (True, True, False, False, "loginctl enable-linger ana"),
        (True, True, True, True, ""),
        (True, False, True, False, "daemon install"),
        (True, False, False, False, "daemon install; loginctl enable-linger ana"),
    ],
)
def test_doctor_warns_only_where_the_daemon_would_end(
    ended: bool, installed: bool, lingers: bool, well: bool, advice: str
) -> None:
    found, words = logout_survival("ana", ended, installed, lingers)
    assert found == well and words.endswith(advice)
    assert well != ("enable-linger" in words or "daemon install" in words)
