"""The systemd user unit that keeps the monitors' daemon running across log-outs and reboots."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

from console.core.model import Role
from console.system.paths import NoHome, config_home, default_state

NAME = "rpa-console-monitors.service"
"""The unit of the user's default box; every other box has one of its own."""

_UNIT = """\
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


def path(state: Path) -> Path:
    """Where the unit of the box in `state` is among the user's. Raises NoHome."""
    return config_home() / "systemd" / "user" / name(state)


def name(state: Path) -> str:
    """The unit's name: it follows from the state directory, so that two boxes have two units."""
    try:
        if state == default_state():
            return NAME
    except NoHome:
        pass
    word = re.sub(r"[^A-Za-z0-9]+", "-", str(state)).strip("-")[-60:].strip("-")
    digest = sha256(os.fsencode(state)).hexdigest()[:8]
    return f"{NAME.removesuffix('.service')}-{word}-{digest}.service"


def text(daemon: Role, box: str) -> str:
    """The unit for a daemon started by this role's command."""
    environment = "".join(
        f"Environment={_quoted(f'{key}={value}')}\n" for key, value in daemon.env.items()
    )
    command = " ".join(_quoted(word).replace("$", "$$") for word in daemon.command)
    return _UNIT.format(box=_literal(box), command=command, environment=environment)


def _quoted(word: str) -> str:
    escaped = _literal(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _literal(text: str) -> str:
    """Specifiers (`%h`) taken literally; a unit file's line ends where it ends."""
    return text.replace("%", "%%").replace("\n", " ")
