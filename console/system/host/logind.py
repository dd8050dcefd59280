"""What logind does to a user's processes at log-out, by the files that it reads: logind.conf(5)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOTS = tuple(Path(root) / "systemd" for root in ("/usr/lib", "/usr/local/lib", "/run", "/etc"))
"""Least first: a drop-in hides one of the same name before it, a setting the one before it."""
LINGER = Path("/var/lib/systemd/linger")
_YES = ("1", "yes", "y", "true", "t", "on")
_LIMIT = 100_000


def user() -> str:
    """Our name by our user id: `$USER` may be another one's, or nobody's."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def lingers(name: str, linger: Path = LINGER) -> bool:
    """Whether the user's own systemd outlives the last log-out."""
    return (linger / name).exists()


def ends_sessions(name: str, roots: Sequence[Path] = ROOTS) -> bool:
    """Whether what a session of the user has started is ended with it, lingering or not."""
    kill, only = False, set[str]()
    spared: set[str] | None = None
    for key, value in _settings(roots):
        if key == "KillUserProcesses":
            kill = value.lower() in _YES
        elif key == "KillOnlyUsers":
            only = only | {*value.split()} if value else set()
        elif key == "KillExcludeUsers":
            spared = (spared or set()) | {*value.split()} if value else set()
    if name in ({"root"} if spared is None else spared):
        return False
    return name in only if only else kill


def _settings(roots: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """The settings of the section `[Login]`, in the order in which they count."""
    for path in _files(roots):
        section = ""
        for raw in _read(path).splitlines():
            line = raw.strip()
            if line.startswith("["):
                section = line
            elif section == "[Login]" and line[:1] not in ("#", ";") and "=" in line:
                key, _, value = line.partition("=")
                yield key.strip(), value.strip()


def _files(roots: Sequence[Path]) -> list[Path]:
    """The main file of the highest place that has one, then all drop-ins by their names."""
    main = [root / "logind.conf" for root in reversed(roots) if (root / "logind.conf").is_file()]
    named: dict[str, Path] = {}
    for root in roots:
        named |= {path.name: path for path in (root / "logind.conf.d").glob("*.conf")}
    return [*main[:1], *(named[name] for name in sorted(named))]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
