"""The filter: a regular expression, as in less and k9s; `!` before it turns it round."""

from __future__ import annotations

import re

from console.core.frozen import frozen

LONGEST = 1000
"""Characters of a row that are looked at."""


class SiftError(Exception):
    """A filter that is no pattern; the text says what is wrong."""


@frozen
class Sift:
    """Which rows to show. Letters of either case are the same."""

    text: str = ""
    pattern: re.Pattern[str] | None = None
    inverse: bool = False

    def __bool__(self) -> bool:
        return self.pattern is not None

    def passes(self, row: str) -> bool:
        """Whether a row is to be shown."""
        if self.pattern is None:
            return True
        return (self.pattern.search(row[:LONGEST]) is None) is self.inverse


NOTHING = Sift()
"""Shows every row."""


def sift(text: str) -> Sift:
    """The filter that a person has typed; nothing, or `!` alone, filters nothing.

    Raises SiftError.
    """
    wanted = text.removeprefix("!")
    if not wanted:
        return Sift()
    try:
        return Sift(text, re.compile(wanted, re.IGNORECASE), text != wanted)
    except (re.error, OverflowError, RecursionError) as error:
        raise SiftError(str(error)) from error
