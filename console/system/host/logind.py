"""Reads from logind.conf(5) files whether logind ends a user's processes at log-out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

CONFIG_DIRS = tuple(
    Path(root) / "systemd" for root in ("/usr/lib", "/usr/local/lib", "/run", "/etc")
)
"""Configuration directories, lowest priority first.

A drop-in replaces one of the same name in an earlier directory, and a later setting replaces an
earlier one.
"""
LINGER_DIR = Path("/var/lib/systemd/linger")
_TRUE_VALUES = ("1", "yes", "y", "true", "t", "on")
_MAX_FILE_BYTES = 100_000


def current_user_name() -> str:
    """Return the name of this process's real user id, or the id as text if it has no name.

    `$USER` is not used: it may be unset or name another user.
    """
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def is_lingering(user_name: str, linger_dir: Path = LINGER_DIR) -> bool:
    """Return True if the user's service manager keeps running after the last log-out."""
    return (linger_dir / user_name).exists()


def kills_user_processes(user_name: str, config_dirs: Sequence[Path] = CONFIG_DIRS) -> bool:
    """Return True if logind ends a session's processes with the session, lingering or not."""
    kills, only_users = False, set[str]()
    excluded_users: set[str] | None = None
    for key, value in _read_login_settings(config_dirs):
        if key == "KillUserProcesses":
            kills = value.lower() in _TRUE_VALUES
        elif key == "KillOnlyUsers":
            only_users = only_users | {*value.split()} if value else set()
        elif key == "KillExcludeUsers":
            excluded_users = (excluded_users or set()) | {*value.split()} if value else set()
    if user_name in ({"root"} if excluded_users is None else excluded_users):
        return False
    return user_name in only_users if only_users else kills


def _read_login_settings(config_dirs: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield (key, value) of the `[Login]` section, lowest priority first."""
    for path in _find_config_files(config_dirs):
        section = ""
        for raw in _read_text(path).splitlines():
            line = raw.strip()
            if line.startswith("["):
                section = line
            elif section == "[Login]" and line[:1] not in ("#", ";") and "=" in line:
                key, _, value = line.partition("=")
                yield key.strip(), value.strip()


def _find_config_files(config_dirs: Sequence[Path]) -> list[Path]:
    """Return the main file with the highest priority, then all drop-ins sorted by name."""
    main_files = [
        root / "logind.conf" for root in reversed(config_dirs) if (root / "logind.conf").is_file()
    ]
    drop_ins: dict[str, Path] = {}
    for root in config_dirs:
        drop_ins |= {path.name: path for path in (root / "logind.conf.d").glob("*.conf")}
    return [*main_files[:1], *(drop_ins[name] for name in sorted(drop_ins))]


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
