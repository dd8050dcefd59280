"""The filter: a regular expression, as in less and k9s; `!` before it turns it round.

By `regex` rather than `re`: there are patterns, `(a+)+$`, that `re` tries for years at one row.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from console.core.frozen import frozen

if TYPE_CHECKING:
    import regex

LONGEST = 1000
"""Characters of a row that are looked at."""
PATIENCE_S = 0.05
"""For one row; most take a few microseconds."""


class SiftError(Exception):
    """A filter that is no pattern; the text says what is wrong."""


@frozen
class Sift:
    """Which rows to show. Letters of either case are the same."""

    text: str = ""
    pattern: regex.Pattern[str] | None = None
    inverse: bool = False
    stuck: list[str] = field(default_factory=list)
    """The row that took too long; from then on every row is shown."""

    def __bool__(self) -> bool:
        return self.pattern is not None

    def passes(self, row: str) -> bool:
        """Whether a row is to be shown."""
        if self.pattern is None or self.stuck:
            return True
        try:
            found = self.pattern.search(row[:LONGEST], timeout=PATIENCE_S)
        except TimeoutError:
            self.stuck.append(row)
            return True
        return (found is None) is self.inverse

    @property
    def words(self) -> str:
        """The filter as it was typed, and whether it works."""
        return self.text + (" takes too long: every row is shown" if self.stuck else "")


NOTHING = Sift()
"""Shows every row."""


def sift(text: str) -> Sift:
    """The filter that a person has typed; nothing, or `!` alone, filters nothing.

    Raises SiftError.
    """
    wanted = text.removeprefix("!")
    if not wanted:
        return Sift()
    import regex  # most sessions filter nothing

    try:
        return Sift(text, regex.compile(wanted, regex.IGNORECASE), text != wanted)
    except (regex.error, OverflowError, RecursionError) as error:
        raise SiftError(str(error)) from error
