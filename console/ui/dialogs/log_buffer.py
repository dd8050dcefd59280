"""A part of a log in memory: contiguous pages of whole lines, bounded in number."""

from __future__ import annotations

from collections import deque

from rich.cells import cell_len

from console.core.model.logs import LogPage
from console.core.records import Component, field
from console.core.text.formatting import find_casefolded, sanitize_text
from console.ui.render.styled_lines import Span, StyledLine, styled_line

MAX_LINES = 5000
"""Maximum number of lines in memory; of a longer page the last lines are kept."""
MAX_LINE_CHARS = 4000
"""Maximum number of characters kept of one line."""


BORDER_CELLS = 30
"""Cells of the lower border that the footer cannot use: corners and the counts of hidden lines."""
KEY_HINTS = "Tab out/err  w wrap  / search  End follow  ? keys  Esc close"
SHORT_KEY_HINTS = "? keys  Esc close"


def build_footer(path: str, max_cells: int) -> str:
    """Return the longest of these that fits: path and keys, keys, the keys for help and Esc."""
    forms = (f"{path}   {KEY_HINTS}", KEY_HINTS)
    return next((form for form in forms if cell_len(form) <= max_cells), SHORT_KEY_HINTS)


class LogBuffer(Component):
    """Contiguous pages of a log, oldest first."""

    pages: deque[tuple[LogPage, tuple[str, ...]]] = field(default_factory=deque)
    lines: list[str] = field(default_factory=list)
    """All lines of the pages, sanitized."""

    @property
    def start(self) -> int:
        """Return the byte offset of the first line; 0 if the buffer is empty."""
        return self.pages[0][0].start if self.pages else 0

    @property
    def end(self) -> int | None:
        """Return the byte offset after the last line; None if the buffer is empty."""
        return self.pages[-1][0].end if self.pages else None

    def append_page(self, page: LogPage) -> None:
        """Add a page of newer lines; remove the oldest pages beyond MAX_LINES."""
        self.pages.append((page, _sanitize_lines(page)))
        while len(self.pages) > 1 and self._line_count() > MAX_LINES:
            self.pages.popleft()
        self._rebuild_lines()

    def prepend_page(self, page: LogPage) -> int:
        """Add a page of older lines; remove the newest pages beyond MAX_LINES.

        Return the number of lines added.
        """
        clean = _sanitize_lines(page)
        self.pages.appendleft((page, clean))
        while len(self.pages) > 1 and self._line_count() > MAX_LINES:
            self.pages.pop()
        self._rebuild_lines()
        return len(clean)

    def clear(self) -> None:
        """Remove all pages."""
        self.pages.clear()
        self.lines.clear()

    def _line_count(self) -> int:
        return sum(len(clean) for _, clean in self.pages)

    def _rebuild_lines(self) -> None:
        self.lines = [line for _, clean in self.pages for line in clean]


def _sanitize_lines(page: LogPage) -> tuple[str, ...]:
    return tuple(sanitize_text(text, MAX_LINE_CHARS) for text in page.lines[-MAX_LINES:])


def highlight_match(text: str, word: str) -> StyledLine:
    """Return a line of a log with the first occurrence of the search word highlighted."""
    match = find_casefolded(text, word) if word else None
    if match is None:
        return styled_line(text)
    start, end = match
    parts: tuple[Span, ...] = ((text[:start], ""), (text[start:end], "select"), (text[end:], ""))
    return StyledLine(parts, is_item=True)
