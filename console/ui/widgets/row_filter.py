"""The row filter: a regular expression, as in less and k9s; a leading `!` inverts it.

It uses the package `regex`, which has a timeout: with `re` a pattern such as `(a+)+$` can run for
years on one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.errors import ConsoleError
from console.core.records import Record, field

if TYPE_CHECKING:
    import regex

MAX_ROW_CHARS = 1000
"""Maximum number of characters of a row that are searched."""
MATCH_TIMEOUT_S = 0.05
"""Timeout for one row; most rows take a few microseconds."""


class FilterError(ConsoleError):
    """A filter is not a valid pattern; the message says why."""


class RowFilter(Record, frozen=True):
    """A filter of rows. Case is ignored."""

    text: str = ""
    pattern: regex.Pattern[str] | None = None
    is_inverted: bool = False
    timed_out_rows: list[str] = field(default_factory=list)
    """The row whose match timed out; from then on every row is shown."""

    def __bool__(self) -> bool:
        return self.pattern is not None

    def matches(self, row: str) -> bool:
        """Return True if the row is to be shown."""
        if self.pattern is None or self.timed_out_rows:
            return True
        try:
            match = self.pattern.search(row[:MAX_ROW_CHARS], timeout=MATCH_TIMEOUT_S)
        except TimeoutError:
            self.timed_out_rows.append(row)
            return True
        return (match is None) is self.is_inverted

    @property
    def description(self) -> str:
        """Return the filter as it was typed, with a note if a match has timed out."""
        return self.text + (" takes too long: every row is shown" if self.timed_out_rows else "")


NO_FILTER = RowFilter()
"""The filter that shows every row."""


def parse_filter(text: str) -> RowFilter:
    """Return the filter for a typed text; "" and "!" show every row. Raises FilterError."""
    pattern_text = text.removeprefix("!")
    if not pattern_text:
        return RowFilter()
    import regex  # imported here, because most sessions use no filter

    try:
        return RowFilter(text, regex.compile(pattern_text, regex.IGNORECASE), text != pattern_text)
    except (regex.error, OverflowError, RecursionError) as error:
        raise FilterError(str(error)) from error
