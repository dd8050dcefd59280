"""Tests of the configuration: accepted and refused values, and the error texts."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import tomli_w

from console.cli.commands.config import CONFIG_TEMPLATE
from console.system.config import redaction_patterns
from console.system.config.advice import settings_warnings
from console.system.config.loader import MAX_BYTES, ConfigError, json_schema, load, parse
from console.system.config.schema import Settings


def refused(path: Path) -> str:
    """Load a file that must be refused and return the error text."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("outputs = 1", ["outputs", "Expected `str`", "found 1"]),
        ("queues = {}", ["queues", "unknown key", "allowed: outputs"]),
        ("[queue]\nurl = 'ftp://x'", ["queue.url", "found 'ftp://x'"]),
        ("[queue]\nurl = 'http://'", ["queue.url"]),
        ("[queue]\ntimeout_s = 0", ["queue.timeout_s", "> 0", "found 0"]),
        ("[queue]\ntimeout_s = true", ["queue.timeout_s", "found True"]),
        ("[queue]\ntimeout_s = nan", ["queue.timeout_s", "found nan"]),
        ("[queue]\ntimeout_s = inf", ["queue.timeout_s", "found inf"]),
        ("[roles.w]\nmatch = 'python w.py'", ["roles.w.match", "the script alone"]),
        ("[roles.a]\nmatch = 'm.py'\n[roles.b]\nmatch = 'm.py'", ["'a' (m.py)", "'b' (m.py)"]),
        ("[roles.a]\nmatch = 'm.py'\n[roles.b]\nmatch = 'jobs/m.py'", ["match_args", "'a'", "'b'"]),
        ("[queue]\nurls = 'x'", ["queue.urls", "allowed: url, timeout_s"]),
        ("[monitors.canary]\nevery_s = '1h'", ["monitors.canary.every_s", "found '1h'"]),
        ("[monitors.canaries]", ["monitors.canaries", "unknown key", "canary, worker"]),
        ("[monitors.pipeline]\nmode = 'x'", ["monitors.pipeline.mode", "found 'x'"]),
        ("[roles.worker]\ncount = 0", ["roles.worker.count", ">= 1", "found 0"]),
        ("[roles.worker]\ncount = 1.5", ["roles.worker.count", "found 1.5"]),
        ("[roles.worker]\nkeep = 'best'", ["roles.worker.keep", "found 'best'"]),
        ("[roles.worker]\ncommand = 'python x'", ["roles.worker.command", "found 'python x'"]),
        ("[roles.worker]\ncommand = ['']", ["roles.worker.command[0]", "found ''"]),
        ("[roles.worker]\ncomand = ['x']", ["roles.worker.comand", "unknown key"]),
        ("[roles.worker.restart]\nlimit = -1", ["roles.worker.restart.limit", "found -1"]),
        ("[roles.worker]\nenv = {A = 1}", ["roles.worker.env", "found"]),
        ("[roles.worker]\nmatch = 'python'", ["roles.worker.match", "found 'python'"]),
        ("[roles.printer]", ["roles.printer.match", "missing"]),
        ("[roles.Printer]\nmatch = 'x.py'", ["roles.Printer"]),
        ("[roles.'../x']\nmatch = 'x.py'", ["roles.../x"]),
        ("[roles.monitors]\nmatch = 'x.py'", ["roles.monitors", "reserved"]),
        ("roles = 3", ["roles", "expected a table", "found 3"]),
        ("roles = {worker = 3}", ["roles.worker", "found 3"]),
        ("[baseline]\nhours = 99", ["baseline.hours", "<= 48", "found 99"]),
        ("[retention]\nsamples_days = -1", ["retention.samples_days", "found -1"]),
        ("[screen]\ntheme = '../etc'", ["screen.theme", "found '../etc'"]),
        ("[screen.keys]\nkill = ''", ["screen.keys"]),
        ("a = 1\na = 2", ["not TOML"]),
        ("[queue", ["not TOML"]),
        ("x = " + "[" * 100_000, ["not TOML"]),
        ("outputs = " + "9" * 5_000, ["not TOML"]),
        (f"[{'.'.join(['a'] * 2_000)}]", ["a.a", "nested too deeply"]),
        (f"[roles.worker.env.{'.'.join(['a'] * 2_000)}]", ["env.a", "nested too deeply"]),
        ("[queue]\ntimeout_s = 0x" + "f" * 5_000, ["queue.timeout_s", "64 bits"]),
        ("[monitors.queue]\nwarn_above = 0x" + "f" * 5_000, ["queue.warn_above", "64 bits"]),
        ('outputs = "a\\u0000b"', ["outputs", "without NUL", "found 'a\\x00b'"]),
        ('[roles.worker]\ncwd = "\\u0000"', ["roles.worker.cwd", "without NUL"]),
        ('[roles.worker]\ncommand = ["a", "\\u0000"]', ["worker.command[1]", "without NUL"]),
        ('[roles.worker.env]\nA = "\\u0000"', ["roles.worker.env.A", "without NUL"]),
        ('[roles.worker.env]\n"A=B" = "x"', ["roles.worker.env", "variable", "found 'A=B'"]),
        ('[roles.worker.match_env]\n"" = "x"', ["roles.worker.match_env", "found ''"]),
        ("[queue]\nurl = 'http://127.0.0.1:99999'", ["queue.url", "1 to 65535", "99999"]),
        ("[queue]\nurl = 'http://127.0.0.1:0'", ["queue.url", "from 1"]),
        ("[queue]\nurl = 'http://[::1'", ["queue.url", "found 'http://[::1'"]),
        ("\x00", ["not TOML"]),
    ],
)  # fmt: skip
def test_error_names_file_key_found_value_and_allowed_values(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    said = refused(path)
    assert said.startswith(f"{path}: ")
    for word in words:
        assert word in said
    assert len(said) < 1000


def test_missing_oversized_or_non_utf8_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert "No such file" in refused(path)
    path.mkdir()
    assert "directory" in refused(path)
    other = tmp_path / "other.toml"
    other.write_bytes(b"outputs = '\xff'")
    assert "not UTF-8 at byte 11" in refused(other)
    other.write_bytes("outputs = 'x'".encode("utf-8-sig"))
    assert load(other).outputs == str(tmp_path / "x")
    other.write_bytes("outputs = 'x'".encode("utf-16"))
    assert "not UTF-8" in refused(other)
    other.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "larger than" in refused(other)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "symbolic link" in refused(loop)


@pytest.mark.timeout(20)
def test_fifo_socket_or_device_is_refused_without_blocking(tmp_path: Path) -> None:
    fifo, listening = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(listening))
        for path, kind in ((fifo, "FIFO"), (listening, "socket"), (Path("/dev/zero"), "device")):
            assert f"{path}: is a {kind}" in refused(path)
    (tmp_path / "link").symlink_to(fifo)
    assert "is a FIFO" in refused(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another account")
def test_file_that_other_users_own_or_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.touch(mode=0o644)
    load(path)
    os.chown(path, 12345, 0)
    assert "belongs to uid 12345" in refused(path)
    assert "chown 0 " in refused(path)
    os.chown(path, 0, 12345)
    path.chmod(0o664)
    assert "a group may write to it (mode 0664); run: chmod g-w" in refused(path)
    os.chown(path, 0, 0)
    load(path)
    path.chmod(0o646)
    assert "every user may write to it (mode 0646); run: chmod o-w" in refused(path)


def test_byte_order_mark_and_empty_file_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[queue]\r\ntimeout_s = 7\r\n")
    assert load(path).queue.timeout_s == 7.0
    path.write_bytes(b"")
    assert load(path) == Settings() == load(None)


def test_default_settings_have_a_queue_a_worker_and_a_watchdog() -> None:
    settings = Settings()
    assert settings.queue.url == "http://127.0.0.1:8091"
    assert {role.name: role.match for role in settings.all_roles()} == {
        "worker": "rpa_worker.py",
        "watchdog": "task_watchdog.py",
    }


def test_default_watchdog_yields_to_a_role_with_the_same_match() -> None:
    for name in ("worker", "guard"):
        settings = parse({"roles": {name: {"match": "task_watchdog.py"}}}, "x")
        names = [role.name for role in settings.all_roles()]
        assert names == list(dict.fromkeys(["worker", name]))
    with pytest.raises(ConfigError, match=r"'worker' .* in any configuration"):
        parse({"roles": {"bots": {"match": "rpa_worker.py"}}}, "x")


def test_arguments_in_match_are_prepended_to_match_args() -> None:
    table = {"match": "/opt/my bots/m.py worker", "match_args": ["--fast"], "autostart": False}
    role = parse({"roles": {"worker": table}}, "x").all_roles()[0]
    assert (role.match, role.match_args) == ("/opt/my bots/m.py", ("worker", "--fast"))
    assert not role.autostart


COMMAND = {"match": "w.py", "command": ["python", "w.py"]}
ODD: list[tuple[dict[str, Any], str]] = [
    ({"roles": {"worker": {**COMMAND, "match": "x.py"}}}, "roles.worker.match"),
    ({"roles": {"worker": {**COMMAND, "match": "w.py go"}}}, "roles.worker.match"),
    ({"roles": {"worker": {**COMMAND, "command": ["vim", "w.py"]}}}, "roles.worker.match"),
    (
        {"roles": {"worker": {**COMMAND, "cwd": "/a", "match_cwd": "/b"}}},
        "roles.worker.match_cwd",
    ),
    (
        {"roles": {"worker": {**COMMAND, "env": {"A": "1"}, "match_env": {"A": "2"}}}},
        "roles.worker.match_env",
    ),
    ({"roles": {"worker": {"restart": {"stalled": "restart"}}}}, "roles.worker.restart.stalled"),
    (
        {"roles": {"worker": {**COMMAND, "restart": {"enabled": False, "stalled": "restart"}}}},
        "roles.worker.restart.stalled",
    ),
    (
        {"roles": {"worker": {**COMMAND, "restart": {"backoff_s": 90.0}}}},
        "roles.worker.restart.backoff_s",
    ),
    (
        {"roles": {"worker": {**COMMAND, "restart": {"window_s": 10.0}}}},
        "roles.worker.restart.window_s",
    ),
    ({"roles": {"worker": {**COMMAND, "restart": {"limit": 0}}}}, "roles.worker.restart.limit"),
    ({"roles": {"worker": {**COMMAND, "settle_s": 60}}}, "roles.worker.restart.healthy_s"),
    ({"queue": {"timeout_s": 120.0}}, "queue.timeout_s"),
    ({"queue": {"timeout_s": 11.0}}, "queue.timeout_s"),
    ({"monitors": {"queue": {"warn_above": 5, "fail_above": 4}}}, "monitors.queue.warn_above"),
    ({"monitors": {"canary": {"slow_s": 30.0}}}, "monitors.canary.slow_s"),
    ({"monitors": {"canary": {"every_s": 30.0}}}, "monitors.canary.deadline_s"),
    ({"monitors": {"watchdog": {"stale_s": 9.0}}}, "monitors.watchdog.stale_s"),
    ({"monitors": {"pipeline": {"stale_s": 9.0}}}, "monitors.pipeline.stale_s"),
    ({"baseline": {"hours": 48}, "retention": {"samples_days": 1}}, "baseline.hours"),
]


@pytest.mark.parametrize(("tables", "key"), ODD)
def test_valid_but_suspicious_settings_are_warned_about(tables: dict[str, Any], key: str) -> None:
    warnings = settings_warnings(parse(tables, "x"))
    assert warnings and all(warning.startswith(f"{key}: ") for warning in warnings)


WELL: list[dict[str, Any]] = [
    {},
    {"roles": {"worker": COMMAND}},
    {"roles": {"worker": {**COMMAND, "match": "/opt/current/w.py", "cwd": "/opt/releases/1"}}},
    {"roles": {"worker": {**COMMAND, "cwd": "/a", "match_cwd": "/a"}}},
    {"roles": {"worker": {"match": "m.py work", "command": ["uv", "run", "m.py", "-v", "work"]}}},
    {"roles": {"worker": {"match": "w.ps1", "command": ["pwsh", "-f", "w.ps1"]}}},
]


@pytest.mark.parametrize("tables", WELL)
def test_consistent_settings_produce_no_warnings(tables: dict[str, Any]) -> None:
    assert settings_warnings(parse(tables, "x")) == []


def test_every_role_key_is_set_on_the_role(tmp_path: Path) -> None:
    table = {
        "match": "w.py", "command": ["python", "w.py"], "cwd": "work", "env": {"A": "1"},
        "match_cwd": "~", "match_env": {"B": "2"}, "count": 3, "keep": "newest", "grace_s": 4.0,
        "settle_s": 0.25,
        "restart": {
            "enabled": False, "backoff_s": 1.0, "backoff_max_s": 2.0, "limit": 5,
            "window_s": 6.0, "healthy_s": 7.0, "unpark_s": 8.0,
        },
    }  # fmt: skip
    settings = parse({"roles": {"press": table}}, "x", tmp_path)
    role = settings.all_roles()[-1]
    assert (role.name, role.match, role.command) == ("press", "w.py", ("python", "w.py"))
    assert (role.cwd, role.match_cwd) == (str(tmp_path / "work"), str(Path.home()))
    assert (role.env, role.match_env, role.count, role.keep) == (
        {"A": "1"},
        {"B": "2"},
        3,
        "newest",
    )
    assert (role.grace_s, role.settle_s) == (4.0, 0.25)
    policy = table["restart"]
    assert isinstance(policy, dict)
    assert {name: getattr(role.policy, name) for name in policy} == policy


def test_tilde_of_an_unknown_user_is_kept_as_a_relative_path(tmp_path: Path) -> None:
    settings = parse({"outputs": "~nobody-like-this/x"}, "x", tmp_path)
    assert settings.outputs == str(tmp_path / "~nobody-like-this/x")


# --- the schema -----------------------------------------------------------------------------


def uncommented() -> dict[str, Any]:
    """Return the template with every line uncommented."""
    import tomllib

    lines = []
    for line in CONFIG_TEMPLATE.splitlines():
        bare = line.removeprefix("# ")
        setting = bare.startswith("[") or (" = " in bare.split("#")[0] and bare[:1].islower())
        lines.append(bare if setting else line)
    return tomllib.loads("\n".join(lines))


def test_template_is_valid_as_it_is_and_with_every_line_uncommented() -> None:
    import tomllib

    parse(tomllib.loads(CONFIG_TEMPLATE), "template")
    whole = uncommented()
    settings = parse(whole, "template")
    assert settings.roles["worker"].command
    assert settings.monitors.canary.for_s == 86_400


def test_template_names_every_table_and_shows_the_defaults() -> None:
    whole = uncommented()
    default = msgspec.to_builtins(Settings())
    assert default.keys() - {"outputs", "roles"} <= whole.keys()
    for table in ("queue", "baseline", "retention"):
        assert whole[table] == {key: one for key, one in default[table].items() if one is not None}


def test_json_schema_is_valid_and_agrees_with_the_parser(tmp_path: Path) -> None:
    document = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)
    validator.validate(uncommented())
    validator.validate({})
    for bad in (
        {"queue": {"timeout_s": 0}}, {"queues": {}}, {"roles": {"Bad": {}}},
        {"roles": {"worker": {"keep": "best"}}}, {"monitors": {"canary": {"every_s": "1h"}}},
        {"roles": {"worker": {"comand": []}}}, {"outputs": 1},
    ):  # fmt: skip
        assert not validator.is_valid(bad), bad
        with pytest.raises(ConfigError):
            parse(bad, "x")


def test_settings_round_trip_through_toml(tmp_path: Path) -> None:
    settings = parse(uncommented(), "x", tmp_path)
    plain = msgspec.to_builtins(settings)

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items() if inner is not None}
        return value

    path = tmp_path / "again.toml"
    path.write_text(tomli_w.dumps(clean(plain)))
    assert load(path) == settings


def test_redaction_pattern_that_takes_too_long_hides_the_text() -> None:
    change = redaction_patterns.compile_redactor(["(a|aa)+$"])
    assert change is not None
    assert change("a" * 5) == "***"
    assert change("a" * 200 + "!").startswith("*** (a pattern")


def test_error_hides_the_found_value_of_a_secret_key() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"roles": {"w": {"match": "w.py", "env": {"DB_PASSWORD": 4711}}}}, "c.toml")
    assert "DB_PASSWORD" in str(caught.value)
    assert "4711" not in str(caught.value)
