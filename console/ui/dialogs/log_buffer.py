"""A part of a log in memory: pages of whole lines, one after the other, of bounded number."""

from __future__ import annotations

from collections import deque
from dataclasses import field

from rich.cells import cell_len

from console.core.frozen import slotted
from console.core.model import LogPage
from console.core.text.formatting import folded, visible
from console.ui.render.styled_lines import Line, Span, line

KEPT = 5000
"""Lines held in memory; of the page that goes beyond, what is left."""
LONGEST = 4000
"""Characters held of one line."""


FRAME = 30
"""Cells of the lower edge that are not the foot's: corners, and how much is above and below."""
KEYS = "Tab out/err  w wrap  / search  End follow  ? keys  Esc close"
FEW_KEYS = "? keys  Esc close"


def foot(path: str, room: int) -> str:
    """The path and the keys; with less room the keys, at least the way out and to the rest."""
    told = (f"{path}   {KEYS}", KEYS)
    return next((one for one in told if cell_len(one) <= room), FEW_KEYS)


@slotted
class Window:
    """Contiguous pages, oldest first."""

    pages: deque[tuple[LogPage, tuple[str, ...]]] = field(default_factory=deque)
    lines: list[str] = field(default_factory=list)
    """Every line in the pages, harmless."""

    @property
    def start(self) -> int:
        """Byte offset of the first line."""
        return self.pages[0][0].start if self.pages else 0

    @property
    def end(self) -> int | None:
        """Byte offset after the last line; None before anything was read."""
        return self.pages[-1][0].end if self.pages else None

    def after(self, page: LogPage) -> None:
        """Newer lines; the oldest pages make room."""
        self.pages.append((page, _clean(page)))
        while len(self.pages) > 1 and self._count() > KEPT:
            self.pages.popleft()
        self._flatten()

    def before(self, page: LogPage) -> int:
        """Older lines; the newest pages make room. How many lines were added."""
        clean = _clean(page)
        self.pages.appendleft((page, clean))
        while len(self.pages) > 1 and self._count() > KEPT:
            self.pages.pop()
        self._flatten()
        return len(clean)

    def clear(self) -> None:
        """Forget everything."""
        self.pages.clear()
        self.lines.clear()

    def _count(self) -> int:
        return sum(len(clean) for _, clean in self.pages)

    def _flatten(self) -> None:
        self.lines = [one for _, clean in self.pages for one in clean]


def _clean(page: LogPage) -> tuple[str, ...]:
    return tuple(visible(text, LONGEST) for text in page.lines[-KEPT:])


def marked(text: str, word: str) -> Line:
    """A line of a log, with the searched word marked where it occurs first."""
    found = folded(text, word) if word else None
    if found is None:
        return line(text)
    at, last = found
    parts: tuple[Span, ...] = ((text[:at], ""), (text[at:last], "select"), (text[last:], ""))
    return Line(parts, item=True)
