"""The systemd user unit that keeps the monitors' daemon running across log-outs and reboots."""

from __future__ import annotations

import os
from pathlib import Path

from console.core.model import Role

NAME = "rpa-console-monitors.service"

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


def path() -> Path:
    """Where a user's units are."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "systemd" / "user" / NAME


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
