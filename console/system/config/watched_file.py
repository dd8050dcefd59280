"""Reloads the configuration file of a running process when it has changed."""

from __future__ import annotations

import os
from pathlib import Path

from console.system.config.schema import Settings
from console.system.files import hanging_storage
from console.system.files.safe_files import FileError

STAT_TIMEOUT_S = 0.2

FileStamp = tuple[int, ...]
"""A file's mtime, ctime, size, inode and device; empty without a file."""
UNREADABLE_STAMP: FileStamp = (-1,)
"""The stamp of a file that did not respond: no other file has it."""


class WatchedConfig:
    """The configuration file and its current settings. Reloading has no side effects."""

    def __init__(self, path: Path | None, initial_settings: Settings) -> None:
        self.path = path
        self.initial_settings = initial_settings
        self.file_error: str | None = None
        """The error in the current file; None if it is valid."""
        self.not_applied_reason = ""
        """The reason why the current file's settings are not in force."""
        self.settings = initial_settings
        """The settings in the file; the last valid ones while the file is invalid."""
        try:
            self.stamp = _read_stamp(path)
            """The stamp of the file as it was last read, valid or not."""
        except FileError:
            self.stamp = UNREADABLE_STAMP
        self.applied_stamp = self.stamp
        """The stamp of the file whose settings are in force."""

    def start_watching(self) -> None:
        """Start watching: the file may have changed since its settings were read.

        Without a configuration file, a file that appears at the default path becomes the
        configuration.
        """
        self.stamp = ()
        if self.path is None:
            try:
                self.stamp = _read_stamp(_default_path())
            except FileError:
                self.stamp = UNREADABLE_STAMP

    def reload_if_changed(self) -> Settings:
        """Return the settings in the file; the last valid ones while the file is invalid.

        The caller may be an event loop: a file that does not respond blocks it once, for
        `STAT_TIMEOUT_S`.
        """
        from console.system.config.loader import ConfigError, load

        path = self.path or _default_path()
        try:
            stamp = _read_stamp(path)
            if stamp != self.stamp:
                self.settings, self.file_error = load(path), None
                self.path = path
        except FileError as error:
            stamp = UNREADABLE_STAMP
            self.file_error = f"{path}: {error}; what it said before counts until then"
        except ConfigError as error:
            self.file_error = f"{error}; what it said before counts until it is mended"
        self.stamp = stamp
        return self.settings


def _read_stamp(path: Path | None) -> FileStamp:
    """Return the stamp of the file at `path`. Raises FileError if the file does not respond."""
    if path is None:
        return ()
    directory = os.path.dirname(path.absolute())
    stamp: FileStamp = hanging_storage.call(
        directory, _stat_stamp, str(path), timeout_s=STAT_TIMEOUT_S
    )
    return stamp


def _stat_stamp(path: str) -> FileStamp:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (
        status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev,
    )  # fmt: skip


def _default_path() -> Path | None:
    """Return the default path of the configuration; None if it is unknown or inaccessible."""
    from console.system.paths import PathError, default_config_file

    try:
        return default_config_file()
    except (PathError, OSError, RuntimeError):
        return None
