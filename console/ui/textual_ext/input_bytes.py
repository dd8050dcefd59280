"""Parses the bytes from the terminal into events; no input stops the handling of keys.

The bytes are untrusted: the sender may be a viewer in a browser. Reports of the terminal's size are
dropped, because Textual would draw any size that a sequence reports; the size comes from the kernel
only. An unknown sequence must not end the input thread, and a paste without an end must not fill
the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from textual import events
from textual._xterm_parser import XTermParser
from textual.message import Message
from textual.messages import InBandWindowResize

PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"
MAX_PASTE_CHARS = 100_000
"""A longer paste is dropped. Textual's parser holds a paste in memory until its end."""
MAX_TERMINAL_SIZE = (600, 300)
"""Maximum number of columns and rows that are drawn."""


class _CellMouseParser(XTermParser):
    """A parser that always reads mouse positions as cells, never as pixels."""

    @property
    def mouse_pixels(self) -> bool:
        return False

    @mouse_pixels.setter
    def mouse_pixels(self, _: bool) -> None: ...


class InputParser:
    """A wrapper of Textual's parser that replaces it after a sequence on which it raises."""

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug
        self._parser = _CellMouseParser(debug)
        self._tail = ""
        self._in_paste = self._dropping_paste = False
        self._pasted_chars = 0

    @property
    def has_pending_key(self) -> bool:
        """Return True if the input so far is either a key or the beginning of a longer sequence.

        Only a timeout distinguishes these.
        """
        return self._parser._timeout_time is not None

    def feed(self, text: str) -> Iterator[Message]:
        """Yield the events of the text that was read."""
        if text := self._limit_paste(text):  # the parser takes an empty text for the end of input
            yield from self._filter_events(self._parser.feed(text))

    def flush_pending(self) -> Iterator[Message]:
        """Yield the events of pending input whose timeout has passed."""
        yield from self._filter_events(self._parser.tick())

    def _filter_events(self, parsed: Iterable[Message]) -> Iterator[Message]:
        try:
            for event in parsed:
                if not isinstance(event, (events.Resize, InBandWindowResize)):
                    yield event
        except (ValueError, OverflowError, ZeroDivisionError):  # invalid or too large numbers
            self._parser = _CellMouseParser(self._debug)

    def _limit_paste(self, text: str) -> str:
        """Return the text without the part of a paste that exceeds MAX_PASTE_CHARS."""
        recent = self._tail + text
        begin, end = recent.rfind(PASTE_BEGIN), recent.rfind(PASTE_END)
        self._tail = recent[1 - len(PASTE_END) :]
        if begin >= 0 or end >= 0:
            self._in_paste = begin > end
        if self._dropping_paste:
            if end < 0:
                return ""
            self._dropping_paste, text = False, recent[end + len(PASTE_END) :]
        self._pasted_chars = self._pasted_chars + len(text) if self._in_paste else 0
        if self._pasted_chars > MAX_PASTE_CHARS:
            self._parser, self._dropping_paste, self._pasted_chars = (
                _CellMouseParser(self._debug),
                True,
                0,
            )
            return ""
        return text


def limit_terminal_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return a terminal's size (columns, rows), limited to MAX_TERMINAL_SIZE."""
    return min(size[0], MAX_TERMINAL_SIZE[0]), min(size[1], MAX_TERMINAL_SIZE[1])
