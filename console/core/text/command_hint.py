"""Formats hints to run a command of this program, with the global options of this process.

A hint without these options would refer to another box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PROGRAM_NAME = "rpa-console"
_SHELL_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_command_prefix = [PROGRAM_NAME]


def set_global_options(options: Iterable[str]) -> None:
    """Set the options that every command hint of this process contains."""
    _command_prefix[0] = " ".join((PROGRAM_NAME, *map(shell_quote, options)))


def add_options_to_commands(text: str) -> str:
    """Return `text` with the global options added to each command line of this program in it."""
    return text.replace(f"{PROGRAM_NAME} ", f"{_command_prefix[0]} ")


def format_command(words: str) -> str:
    """Return the command line that runs this program with the arguments `words`."""
    return f"{_command_prefix[0]} {words}"


def shell_quote(word: str) -> str:
    """Return `word`, quoted for a POSIX shell if necessary."""
    return word if _SHELL_SAFE.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"
