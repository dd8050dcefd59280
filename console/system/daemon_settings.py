"""The record of the settings that the daemon uses, for the other processes of the box."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from console.core.model.roles import LeaseState
from console.core.records import Record, field
from console.system import daemon_role
from console.system.box import Box
from console.system.config.watched_file import FileStamp
from console.system.locks import lease

MAX_RECORD_BYTES = 2_000_000
"""Maximum number of bytes that are read of a record."""


class DaemonSettings(Record, frozen=True):
    """The daemon's record of its configuration."""

    pid: int
    boot: str
    config: str | None = None
    stamp: FileStamp = ()
    version: str = ""
    not_applied_reason: str = ""
    """The reason why the current file is not applied."""
    reloads_on_sighup: bool = True
    """True: SIGHUP reloads the file. A console that runs the monitors would exit instead."""
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Key -> (the value as it may be displayed, its digest)."""


def read(state: Path) -> DaemonSettings | None:
    """Return the record of the running or last daemon; None if it is missing or unreadable."""
    try:
        with open(state / "daemon.json", "rb") as file:
            document = json.loads(file.read(MAX_RECORD_BYTES))
        values = {
            str(key): (str(shown), str(digest))
            for key, (shown, digest) in document.get("values", {}).items()
        }
        config = document.get("config")
        return DaemonSettings(
            int(document.get("pid", 0)),
            str(document.get("boot")),
            config if isinstance(config, str) else None,
            tuple(int(number) for number in document.get("stamp", [])),
            str(document.get("version", "")),
            str(document.get("trouble", "")),
            document.get("hears") is True,
            values,
        )
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def write(state: Path, record: DaemonSettings) -> None:
    """Write the record for the other processes of the box. Raises OSError."""
    document = {
        "pid": record.pid,
        "boot": record.boot,
        "config": record.config,
        "stamp": list(record.stamp),
        "version": record.version,
        "trouble": record.not_applied_reason,
        "hears": record.reloads_on_sighup,
        "values": {key: list(value) for key, value in record.values.items()},
    }
    draft = state / f".daemon.json.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(document, file)
        os.replace(draft, state / "daemon.json")
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def settings_mismatch(box: Box, daemon_pid: int | None = None) -> list[str]:
    """Return how the daemon's settings differ from ours, as text; [] if equal or none runs.

    `daemon_pid`: the PID of the running daemon, if the caller knows it.
    """
    record, config, stamp = read(box.paths.state), box.config_path, box.watched_config.applied_stamp
    if record is None:
        return []
    same_file = record.config == (str(config) if config else None)
    if (same_file and record.stamp == stamp) or record.pid != (
        daemon_pid or _running_daemon_pid(box)
    ):
        return []
    from console.system.config.difference import describe_differences, digest_settings

    differences = describe_differences(record.values, digest_settings(box.settings))
    if not differences:
        return []
    message = f"the daemon (PID {record.pid}) goes by other settings than this command: "
    message += "; ".join(differences)
    if not same_file:
        message += f" (it reads {record.config or 'no file'}, this command {config or 'no file'})"
    if record.not_applied_reason:
        message += f" ({record.not_applied_reason})"
    return [message]


def _running_daemon_pid(box: Box) -> int | None:
    """Return the PID of the running daemon, or None."""
    held = lease.read_lease(
        box.paths.lease(daemon_role.ROLE_NAME), box.paths.owner(daemon_role.ROLE_NAME)
    )
    return held.owner.identity.pid if held.state is LeaseState.HELD and held.owner else None
