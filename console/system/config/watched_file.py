"""The configuration file of a running process, read again when it has changed."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path

from console.core.frozen import slotted
from console.system.config.schema import Settings
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError

PATIENCE_S = 0.2

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
        from console.system.config.loader import ConfigError, load

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
    found: Stamp = hanging_storage.call(place, _stamp, str(path), patience_s=PATIENCE_S)
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
