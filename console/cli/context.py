"""The global options, and the box that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.cli.output import fail
from console.core.exit_codes import FAILURE, UNREADABLE, USAGE

if TYPE_CHECKING:
    from console.system.box import Box


class Options:
    """The global options, as given."""

    def __init__(self, config: Path | None, state_dir: Path | None, read_only: bool) -> None:
        self.config_path = config
        self.state_dir = state_dir
        self.read_only = read_only

    def find_config(self) -> Path | None:
        """Return the configuration file: the named one, else the user's default file if it exists.

        Return None if there is neither.
        """
        from console.system.paths import NoHomeDirectoryError, default_config_file

        if self.config_path is not None:
            return _absolute_path(self.config_path)
        try:
            default = default_config_file()
        except NoHomeDirectoryError:
            return None
        try:
            return default if default.exists() else None
        except OSError:
            return default  # the code that reads the file reports the error

    def find_state_dir(self) -> Path:
        """Return the state directory. Ends the program if it cannot be determined."""
        from console.system.paths import NoHomeDirectoryError, default_state_directory

        try:
            return _absolute_path(self.state_dir or default_state_directory())
        except NoHomeDirectoryError as error:
            fail(str(error), USAGE)

    @contextmanager
    def open_box(
        self, ephemeral: bool = False, repair: bool = False, memory_fallback: bool = False
    ) -> Iterator[Box]:
        """Open the box that these options name, as a context manager.

        An error in configuration, paths or store ends the program with a message. The parameters
        are those of `console.system.box.open_box`.
        """
        from console.system.box import open_box
        from console.system.config.loader import ConfigError, load
        from console.system.paths import PathError
        from console.system.store.store import StoreError

        try:
            config = self.find_config()
            settings = load(config)
            state, repair = (
                self.find_state_dir(),
                repair and not (self.read_only or settings.read_only),
            )
            with open_box(settings, state, config, ephemeral, repair, memory_fallback) as box:
                yield box
        except ConfigError as error:
            fail(str(error), USAGE)
        except (PathError, StoreError) as error:
            fail(str(error), UNREADABLE)

    def to_arguments(self) -> list[str]:
        """Return the options that name the box, as command-line arguments."""
        config, state = self.config_path, self.state_dir
        arguments = ["--config", os.path.abspath(os.path.expanduser(config))] if config else []
        if state:
            arguments += ["--state-dir", os.path.abspath(os.path.expanduser(state))]
        return arguments

    def require_writable(self, box: Box | None = None) -> None:
        """End the program with FAILURE if the options or the settings of `box` are read-only."""
        if self.read_only or (box is not None and box.settings.read_only):
            fail("read-only: nothing was done", FAILURE)


def _absolute_path(path: Path) -> Path:
    """Return the absolute path of a named file or directory; end the program if it is not UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # SQLite, systemd and JSON need UTF-8 paths
        fail(f"{path}: its name is not valid UTF-8; choose another place", USAGE)
    return Path(os.path.expanduser(path)).absolute()


def current_actor(interface: str = "cli") -> str:
    """Return the actor of a command: interface, user and terminal, as in `cli:ana@pts/3`."""
    import getpass

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid()) if hasattr(os, "getuid") else "?"
    for stream in (0, 1, 2):
        try:
            return f"{interface}:{name}@{os.ttyname(stream).removeprefix('/dev/')}"
        except OSError:
            continue
    return f"{interface}:{name}"


pass_options = click.make_pass_decorator(Options)
