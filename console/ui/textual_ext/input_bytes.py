"""The bytes that a terminal sends, as events: whatever they are, keys go on working.

The sender may be a viewer in a browser. Only the kernel is asked for the size of the terminal:
Textual would believe any size that a sequence reports, and draw it. An unknown sequence must not
end the thread that reads, and a paste without an end must not fill the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual import events
from textual._xterm_parser import XTermParser
from textual.message import Message
from textual.messages import InBandWindowResize

PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"
LONGEST_PASTE = 100_000
"""Characters. The parser keeps a paste until it ends."""
LARGEST = (600, 300)
"""Columns and rows that are drawn at most."""


class _Parser(XTermParser):
    """A parser that takes the mouse's position for cells, whatever a sequence says of pixels."""

    @property
    def mouse_pixels(self) -> bool:
        return False

    @mouse_pixels.setter
    def mouse_pixels(self, _: bool) -> None: ...


class Incoming:
    """The parser, a new one after each sequence that breaks it."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._parser = _Parser(debug)
        self._recent = ""
        self._pasting = self._dropping = False
        self._pasted = 0

    @property
    def unsure(self) -> bool:
        """Whether only time tells if a key or the beginning of a longer sequence was read."""
        return self._parser._timeout_time is not None

    def feed(self, text: str) -> Iterator[Message]:
        """The events of what was read."""
        if text := self._bounded(text):  # nothing would be the end of the terminal
            yield from self._safe(self._parser.feed(text))

    def tick(self) -> Iterator[Message]:
        """The events of what no longer is the beginning of a sequence."""
        yield from self._safe(self._parser.tick())

    def _safe(self, parsed: Iterable[Message]) -> Iterator[Message]:
        try:
            for event in parsed:
                if not isinstance(event, (events.Resize, InBandWindowResize)):
                    yield event
        except (ValueError, OverflowError, ZeroDivisionError):  # numbers that are none, or too big
            self._parser = _Parser(self._debug)

    def _bounded(self, text: str) -> str:
        """The text without what a paste has beyond its limit."""
        seen = self._recent + text
        begin, end = seen.rfind(PASTE_BEGIN), seen.rfind(PASTE_END)
        self._recent = seen[1 - len(PASTE_END) :]
        if begin >= 0 or end >= 0:
            self._pasting = begin > end
        if self._dropping:
            if end < 0:
                return ""
            self._dropping, text = False, seen[end + len(PASTE_END) :]
        self._pasted = self._pasted + len(text) if self._pasting else 0
        if self._pasted > LONGEST_PASTE:
            self._parser, self._dropping, self._pasted = _Parser(self._debug), True, 0
            return ""
        return text


def bounded(size: tuple[int, int]) -> tuple[int, int]:
    """A terminal's size (columns, rows), at most as large as is drawn."""
    return min(size[0], LARGEST[0]), min(size[1], LARGEST[1])
