"""The configuration file: written, shown, checked, and named in three ways."""

from __future__ import annotations

import json
import tomllib
from typing import Any


def test_flag_overrides_environment_and_environment_overrides_the_file(machine: Any) -> None:
    own = machine.home / ".config" / "rpa-console" / "config.toml"
    own.parent.mkdir(parents=True)
    paths = [own, machine.home / "environment.toml", machine.home / "flag.toml"]
    for number, path in enumerate(paths, 1):
        path.write_text(f"[queue]\ntimeout_s = {number}\n")
    environment = {"RPA_CONSOLE_CONFIG": str(paths[1])}
    flag = ["--config", str(paths[2])]

    def timeout(*arguments: str, **options: Any) -> float:
        shown = machine.bare(*arguments, "config", "show", "--json", **options)
        return float(json.loads(shown.stdout)["queue"]["timeout_s"])

    assert timeout() == 1
    assert timeout(env=environment) == 2
    assert timeout(*flag, env=environment) == 3
    assert machine.bare("config", "path", env=environment).stdout == f"{paths[1]}\n"
    assert timeout(env={"RPA_CONSOLE_CONFIG": ""}) == 1


def test_state_directory_flag_overrides_environment_and_default(machine: Any) -> None:
    def box(*arguments: str, **options: Any) -> str:
        said = machine.bare(*arguments, "status", "--json", **options)
        return str(json.loads(said.stdout)["box"])

    environment = {"RPA_CONSOLE_STATE_DIR": str(machine.home / "b")}
    assert box() == str(machine.home / ".local/state/rpa-console")
    assert box(env=environment) == str(machine.home / "b")
    assert box("--state-dir", "c", env=environment) == str(machine.home / "c")
    assert list(machine.home.iterdir()) == []


def test_init_writes_a_valid_file_and_overwrites_none(machine: Any) -> None:
    written = machine.bare("config", "init")
    path = machine.home / ".config" / "rpa-console" / "config.toml"
    assert (written.returncode, written.stdout) == (0, f"{path}\n")
    valid = machine.bare("config", "validate")
    assert (valid.returncode, valid.stderr) == (0, "")
    assert "roles: worker, watchdog" in valid.stdout
    path.write_text("mine = true")
    again = machine.bare("config", "init")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert path.read_text() == "mine = true"


def test_init_follows_no_symlink_and_reports_an_unwritable_path(machine: Any) -> None:
    target = machine.home / "target"
    link = machine.home / "link.toml"
    link.symlink_to(target)
    assert machine.bare("--config", str(link), "config", "init").returncode == 1
    assert not target.exists()
    refused = machine.bare("--config", "/proc/nowhere/config.toml", "config", "init")
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr


def test_invalid_configuration_ends_every_command_with_exit_code_2(machine: Any) -> None:
    machine.write(queue={"url": "gopher://x"})
    for command in ("status", "ensure", "events", "config validate", "config show", "daemon run"):
        refused = machine.run(*command.split())
        assert (refused.returncode, refused.stdout) == (2, ""), command
        assert f"{machine.config}: queue.url" in refused.stderr
        assert "'gopher://x'" in refused.stderr


def test_control_characters_of_the_configuration_are_escaped(machine: Any) -> None:
    machine.directory.mkdir()
    machine.config.write_text('"\\u001b]0;pwn\\u0007" = 1')
    refused = machine.run("status")
    assert refused.returncode == 2
    assert "\x1b" not in refused.stderr
    assert "\\x1b]0;pwn" in refused.stderr


def test_config_show_prints_the_effective_settings_as_toml(machine: Any) -> None:
    machine.write(outputs="files", monitors={"canary": {"every_s": 7}})
    shown = tomllib.loads(machine.run("config", "show").stdout)
    assert shown["monitors"]["canary"]["every_s"] == 7
    assert shown["outputs"] == str(machine.directory / "files")
    assert shown["retention"]["samples_days"] == 14
    assert shown == json.loads(machine.run("config", "show", "--json").stdout)


def test_config_schema_prints_the_json_schema(machine: Any) -> None:
    assert "$defs" in json.loads(machine.bare("config", "schema").stdout)
