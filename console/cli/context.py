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
from console.core.frozen import frozen

if TYPE_CHECKING:
    from console.system.box import Box


@frozen
class Options:
    """The global options, as given."""

    config: Path | None
    state: Path | None
    read_only: bool

    def find_config(self) -> Path | None:
        """The configuration file: the one that was named, or the user's own if there is one."""
        from console.system.paths import NoHome, default_config

        if self.config is not None:
            return _place(self.config)
        try:
            default = default_config()
        except NoHome:
            return None
        try:
            return default if default.exists() else None
        except OSError:
            return default  # who reads it is told why that cannot be

    def find_state(self) -> Path:
        """The state directory."""
        from console.system.paths import NoHome, default_state

        try:
            return _place(self.state or default_state())
        except NoHome as error:
            fail(str(error), USAGE)

    @contextmanager
    def box(
        self, ephemeral: bool = False, mends: bool = False, stands_in: bool = False
    ) -> Iterator[Box]:
        """The box these options name; what is wrong with it ends the program with a clear word.

        The arguments are those of `open_box`.
        """
        from console.system.box import open_box
        from console.system.config.loader import ConfigError, load
        from console.system.paths import PathError
        from console.system.store.store import StoreError

        try:
            config = self.find_config()
            settings = load(config)
            state, mends = self.find_state(), mends and not (self.read_only or settings.read_only)
            with open_box(settings, state, config, ephemeral, mends, stands_in) as box:
                yield box
        except ConfigError as error:
            fail(str(error), USAGE)
        except (PathError, StoreError) as error:
            fail(str(error), UNREADABLE)

    def given(self) -> list[str]:
        """The options that name the box, as words of a command line."""
        config, state = self.config, self.state
        named = ["--config", os.path.abspath(os.path.expanduser(config))] if config else []
        if state:
            named += ["--state-dir", os.path.abspath(os.path.expanduser(state))]
        return named

    def writable(self, box: Box | None = None) -> None:
        """Refuse what would change anything, where that was asked for."""
        if self.read_only or (box is not None and box.settings.read_only):
            fail("read-only: nothing was done", FAILURE)


def _place(path: Path) -> Path:
    """The path, absolute, of a file or directory that was named."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:  # SQLite, systemd and JSON have every path in UTF-8
        fail(f"{path}: its name is not valid UTF-8; choose another place", USAGE)
    return Path(os.path.expanduser(path)).absolute()


def actor(via: str = "cli") -> str:
    """Who is asking: `cli:ana@pts/3`."""
    import getpass

    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid()) if hasattr(os, "getuid") else "?"
    for stream in (0, 1, 2):
        try:
            return f"{via}:{name}@{os.ttyname(stream).removeprefix('/dev/')}"
        except OSError:
            continue
    return f"{via}:{name}"


pass_options = click.make_pass_decorator(Options)
