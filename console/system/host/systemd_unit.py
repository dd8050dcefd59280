"""Generates the systemd user unit that keeps the daemon running across log-outs and reboots."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

from console.core.model.roles import Role
from console.system.paths import (
    NoHomeDirectoryError,
    default_state_directory,
    user_config_directory,
)

DEFAULT_UNIT_NAME = "rpa-console-monitors.service"
"""Unit of the user's default box; every other box has a unit with another name."""

_UNIT_TEMPLATE = """\
[Unit]
Description=rpa-console: the monitors of {box}
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.service.html

[Service]
Type=notify
ExecStart={command}
{environment}WatchdogSec=30
Restart=on-failure
RestartSec=5
# Only the daemon itself is ended: the workers and their shims live on.
KillMode=process

[Install]
WantedBy=default.target
"""


def unit_path(state_dir: Path) -> Path:
    """Return the path of a box's unit among the user units. Raises NoHomeDirectoryError."""
    return user_config_directory() / "systemd" / "user" / unit_name(state_dir)


def unit_name(state_dir: Path) -> str:
    """Return the unit's name, which is derived from the state directory: one unit per box."""
    try:
        if state_dir == default_state_directory():
            return DEFAULT_UNIT_NAME
    except NoHomeDirectoryError:
        pass
    slug = re.sub(r"[^A-Za-z0-9]+", "-", str(state_dir)).strip("-")[-60:].strip("-")
    digest = sha256(os.fsencode(state_dir)).hexdigest()[:8]
    return f"{DEFAULT_UNIT_NAME.removesuffix('.service')}-{slug}-{digest}.service"


def unit_text(daemon: Role, box_name: str) -> str:
    """Return the unit file for a daemon that this role's command starts."""
    environment = "".join(
        f"Environment={_quote(f'{key}={value}')}\n" for key, value in daemon.env.items()
    )
    command = " ".join(_quote(word).replace("$", "$$") for word in daemon.command)
    return _UNIT_TEMPLATE.format(
        box=_escape_specifiers(box_name), command=command, environment=environment
    )


def _quote(word: str) -> str:
    escaped = _escape_specifiers(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _escape_specifiers(text: str) -> str:
    """Escape specifiers such as `%h`, and replace newlines, which would end a unit file's line."""
    return text.replace("%", "%%").replace("\n", " ")
