"""Which configuration is in force: the file as it is by now, and what the box's daemon goes by."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from console.core.frozen import frozen, slotted
from console.system import foreign
from console.system.files import FileError
from console.system.settings import Settings

if TYPE_CHECKING:
    from console.system.box import Box

PATIENCE_S = 0.2
MAX_RECORD = 2_000_000

Stamp = tuple[int, ...]
"""What changes with a file: its times, size, inode and device; empty where there is none."""
UNREAD: Stamp = (-1,)
"""The stamp of a file that did not answer: it differs from that of every file."""


@slotted
class Configured:
    """The configuration file, read again when it has changed. Reading it changes nothing else."""

    path: Path | None
    began: Settings
    mistake: str | None = None
    """What is wrong with the file by now, while that is so."""
    trouble: str = ""
    """Why what the file says by now is not in force."""
    stamp: Stamp = ()
    """That of the file as it was last read, whether it could be used or not."""
    in_force: Stamp = ()
    """That of the file whose settings are in force."""
    settings: Settings = field(init=False)
    """What the file says; what it said before, when it says nothing that can be used."""

    def __post_init__(self) -> None:
        self.settings = self.began
        try:
            self.stamp = _stamp_of(self.path)
        except FileError:
            self.stamp = UNREAD
        self.in_force = self.stamp

    def begin(self) -> None:
        """Begin to watch: the file may have changed since its settings were read.

        Without one, a file that appears in the usual place is the configuration from then on.
        """
        self.stamp = ()
        if self.path is None:
            try:
                self.stamp = _stamp_of(_default())
            except FileError:
                self.stamp = UNREAD

    def look(self) -> Settings:
        """What the file says now; what it said before, when it says nothing that can be used.

        The caller may be an event loop: a file that does not answer costs it `PATIENCE_S` once.
        """
        from console.system.configuration import ConfigError, load

        path = self.path or _default()
        try:
            now = _stamp_of(path)
            if now != self.stamp:
                self.settings, self.mistake = load(path), None
                self.path = path
        except FileError as error:
            now = UNREAD
            self.mistake = f"{path}: {error}; what it said before counts until then"
        except ConfigError as error:
            self.mistake = f"{error}; what it said before counts until it is mended"
        self.stamp = now
        return self.settings


def _stamp_of(path: Path | None) -> Stamp:
    """The stamp of the file at `path`. Raises FileError when the file does not answer."""
    if path is None:
        return ()
    place = os.path.dirname(path.absolute())
    found: Stamp = foreign.call(place, _stamp, str(path), patience_s=PATIENCE_S)
    return found


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (
        status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev,
    )  # fmt: skip


def _default() -> Path | None:
    """Where a configuration may appear that was not there before."""
    from console.system.paths import PathError, default_config

    try:
        return default_config()
    except (PathError, OSError, RuntimeError):
        return None


# --- what the daemon goes by ------------------------------------------------------------------


@frozen
class InForce:
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


def read(state: Path) -> InForce | None:
    """The record of the daemon that runs, or ran last; None where none can be read."""
    try:
        with open(state / "daemon.json", "rb") as file:
            found = json.loads(file.read(MAX_RECORD))
        values = {
            str(key): (str(shown), str(digest))
            for key, (shown, digest) in found.get("values", {}).items()
        }
        config = found.get("config")
        return InForce(
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


def write(state: Path, record: InForce) -> None:
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
    from console.system.differing import differences, digested

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
    from console.core.model import LeaseState
    from console.system import daemon, lease

    held = lease.look(box.paths.lease(daemon.NAME), box.paths.owner(daemon.NAME))
    return held.owner.identity.pid if held.state is LeaseState.HELD and held.owner else None
