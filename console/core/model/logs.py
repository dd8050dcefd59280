"""Pages of a log file."""

from __future__ import annotations

from console.core.records import Record


class LogPage(Record, frozen=True):
    """A range of lines of a role's output. The lines are raw untrusted text."""

    path: str
    lines: tuple[str, ...] = ()
    start: int = 0
    """Byte offset of the first line in the file."""
    end: int = 0
    """Byte offset after the last line, from which following continues."""
    size: int = 0
    error: str | None = None


class LogSearchResult(Record, frozen=True):
    """The result of one step of a search through a log."""

    line: int | None
    """Byte offset of the line that matches; None without a match."""
    goes_on: int | None
    """Byte offset at which the search continues; None if there is nothing left to search."""
    size: int = 0
