"""How a next step is written: as a command line with the options that this process was given.

Advice without them would be about another box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NAME = "rpa-console"
_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
_written = [NAME]


def use(options: Iterable[str]) -> None:
    """Write every next step of this process with these options."""
    _written[0] = " ".join((NAME, *map(quoted, options)))


def steps(text: str) -> str:
    """`text` with the options in each command line of this program that it names."""
    return text.replace(f"{NAME} ", f"{_written[0]} ")


def step(words: str) -> str:
    """The command line that runs this program with these words."""
    return f"{_written[0]} {words}"


def quoted(word: str) -> str:
    """The word as a shell takes it."""
    return word if _SAFE.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"
