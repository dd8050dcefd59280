"""Tests of the description of configuration changes, and of the daemon's settings record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.system import daemon_settings
from console.system.config.difference import describe_differences, digest_settings
from console.system.config.loader import parse
from console.system.config.schema import Settings
from console.system.config.watched_file import WatchedConfig
from console.system.daemon_settings import DaemonSettings


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({}, {"read_only": True}, ["read_only: false → true"]),
        ({}, {"outputs": "/a"}, ['outputs: not set → "/a"']),
        (
            {"roles": {"a": {"match": "a.py"}}},
            {"roles": {"b": {"match": "a.py"}}},
            ["roles.a: removed", "roles.b: added"],
        ),
        (
            {"roles": {"a": {"match": "a.py", "env": {"X": "1"}}}},
            {"roles": {"a": {"match": "a.py", "env": {"X": "2", "Y": "3"}}}},
            ["roles.a.env.X: changed (hidden)", "roles.a.env.Y: not set → (hidden)"],
        ),
        (
            {"queue": {"url": "http://a:b@h"}},
            {"queue": {"url": "http://a:c@h"}},
            ['queue.url: changed "http://a:***@h"'],
        ),
    ],
)
def test_each_changed_key_is_described(before: dict, after: dict, told: list[str]) -> None:
    one, other = (digest_settings(parse(tables, "x")) for tables in (before, after))
    assert describe_differences(one, other) == told


def test_long_values_are_shortened() -> None:
    before, after = (parse({"outputs": "/" + letter * 4_000}, "x") for letter in "ab")
    (text,) = describe_differences(digest_settings(before), digest_settings(after))
    assert len(text) < 300
    tables = ({"outputs": "/" + "x" * 500 + end} for end in ("/old/" + "y" * 500, "/new"))
    before, after = (digest_settings(parse(one, "x")) for one in tables)
    (text,) = describe_differences(before, after)
    assert "/old/" in text and "/new" in text


def test_record_round_trips_in_a_private_file(tmp_path: Path) -> None:
    record = DaemonSettings(
        7, "boot", "/c.toml", (1, 2, 3, 4, 5), "1.0", "why", True, digest_settings(Settings())
    )
    daemon_settings.write(tmp_path, record)
    assert daemon_settings.read(tmp_path) == record
    assert (tmp_path / "daemon.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{", '{"pid": "x"}', '{"pid": 1e400}', '{"stamp": ["x"]}', "[" * 100_000,
        '{"stamp": [1e400]}', '{"pid": null}', "\x00", '{"pid": 1' + "0" * 5_000 + "}",
    ],
)  # fmt: skip
def test_malformed_record_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "daemon.json").write_text(text)
    found = daemon_settings.read(tmp_path)
    assert found is None or found.pid == 0


def test_missing_or_unreadable_record_reads_as_none(tmp_path: Path) -> None:
    assert daemon_settings.read(tmp_path) is None
    (tmp_path / "daemon.json").mkdir()
    assert daemon_settings.read(tmp_path) is None


def test_config_file_is_reloaded_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("read_only = true")
    configured = WatchedConfig(path, Settings(read_only=True))
    assert configured.reload_if_changed().read_only
    path.write_text("read_only = false")
    assert not configured.reload_if_changed().read_only
    path.write_text("read_only = 3")
    assert not configured.reload_if_changed().read_only
    assert configured.file_error is not None and "read_only" in configured.file_error
    path.unlink()
    configured.reload_if_changed()
    assert configured.file_error is not None and "No such file" in configured.file_error
    path.write_text(json.dumps("x") + " = 1")
    configured.reload_if_changed()
    path.write_text("read_only = true")
    assert configured.reload_if_changed().read_only
    assert configured.file_error is None
