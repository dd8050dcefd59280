"""The settings that the daemon of a box goes by, as a record for every other process of the box."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from console.core.frozen import frozen
from console.core.model import LeaseState
from console.system import daemon_role
from console.system.box import Box
from console.system.config.watched_file import Stamp
from console.system.locks import lease

MAX_RECORD = 2_000_000
"""Bytes of a record that are read."""


@frozen
class DaemonSettings:
    """What the daemon says of its own configuration."""

    pid: int
    boot: str
    config: str | None = None
    stamp: Stamp = ()
    version: str = ""
    trouble: str = ""
    """Why the file as it is by now is not taken over."""
    hears: bool = True
    """Whether SIGHUP has it look at the file: a console that runs the monitors would end."""
    values: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Key -> the value as it may be shown, and its digest."""


def read(state: Path) -> DaemonSettings | None:
    """The record of the daemon that runs, or ran last; None where none can be read."""
    try:
        with open(state / "daemon.json", "rb") as file:
            found = json.loads(file.read(MAX_RECORD))
        values = {
            str(key): (str(shown), str(digest))
            for key, (shown, digest) in found.get("values", {}).items()
        }
        config = found.get("config")
        return DaemonSettings(
            int(found.get("pid", 0)),
            str(found.get("boot")),
            config if isinstance(config, str) else None,
            tuple(int(one) for one in found.get("stamp", [])),
            str(found.get("version", "")),
            str(found.get("trouble", "")),
            found.get("hears") is True,
            values,
        )
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def write(state: Path, record: DaemonSettings) -> None:
    """Leave the record for every other process of the box. Raises OSError."""
    about = {
        "pid": record.pid,
        "boot": record.boot,
        "config": record.config,
        "stamp": list(record.stamp),
        "version": record.version,
        "trouble": record.trouble,
        "hears": record.hears,
        "values": {key: list(value) for key, value in record.values.items()},
    }
    draft = state / f".daemon.json.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(draft, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(about, file)
        os.replace(draft, state / "daemon.json")
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def unlike(box: Box, pid: int | None = None) -> list[str]:
    """How the daemon's settings differ from ours, in words; [] where they agree or none runs.

    `pid`: the running daemon's, where it is known already.
    """
    record, config, stamp = read(box.paths.state), box.config, box.configured.in_force
    if record is None:
        return []
    same_file = record.config == (str(config) if config else None)
    if (same_file and record.stamp == stamp) or record.pid != (pid or _daemon(box)):
        return []
    from console.system.config.difference import differences, digested

    found = differences(record.values, digested(box.settings))
    if not found:
        return []
    told = f"the daemon (PID {record.pid}) goes by other settings than this command: "
    told += "; ".join(found)
    if not same_file:
        told += f" (it reads {record.config or 'no file'}, this command {config or 'no file'})"
    if record.trouble:
        told += f" ({record.trouble})"
    return [told]


def _daemon(box: Box) -> int | None:
    """The PID of the daemon that runs."""
    held = lease.look(box.paths.lease(daemon_role.NAME), box.paths.owner(daemon_role.NAME))
    return held.owner.identity.pid if held.state is LeaseState.HELD and held.owner else None
