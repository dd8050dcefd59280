"""A terminal emulator that answers queries as a modern xterm does and tracks terminal modes."""

from __future__ import annotations

import re

import pyte

_ESCAPE = re.compile(
    rb"\x1b(?:"
    rb"\[(?P<mark>[<=>?]?)(?P<numbers>[\d;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    rb"|[\]P_^X].*?(?:\x07|\x1b\\)"
    rb"|[ -/]*[0-OQ-WYZ`-~])",
    re.DOTALL,
)
_ANSWERS: tuple[tuple[bytes, bytes], ...] = (
    (rb"\x1b\[0?c", b"\x1b[?65;1;9c"),
    (rb"\x1b\[>0?c", b"\x1b[>41;390;0c"),
    (rb"\x1b\[>0?q", b"\x1bP>|bench(1)\x1b\\"),
    (rb"\x1b\[5n", b"\x1b[0n"),
    (rb"\x1b\[6n", b"\x1b[1;1R"),
    (rb"\x1b\[\?6n", b"\x1b[?1;1R"),
    (rb"\x1b\[\?2026\$p", b"\x1b[?2026;2$y"),
    (rb"\x1b\[\?(\d+)\$p", b"\x1b[?\\1;0$y"),
    (rb"\x1b\](10|4;7);\?(?:\x07|\x1b\\)", b"\x1b]\\1;rgb:d0d0/d0d0/d0d0\x1b\\"),
    (rb"\x1b\](1[1-9]|4;\d+);\?(?:\x07|\x1b\\)", b"\x1b]\\1;rgb:0000/0000/0000\x1b\\"),
    (rb"\x1b\[\?996n", b"\x1b[?997;1n"),
    (rb"\x1bP\+q.*", b"\x1bP0+r\x1b\\"),
    (rb"\x1bP\$q.*", b"\x1bP0$r\x1b\\"),
)
"""Query -> answer. As in xterm, queries of Kitty's protocols and of pixel sizes get none."""
_QUERIES = [(re.compile(query, re.DOTALL), answer) for query, answer in _ANSWERS]
_ON = {
    b"47", b"1047", b"1049", b"9", b"1000", b"1001", b"1002", b"1003", b"1004", b"2004", b"2026",
    b"2048",
}  # fmt: skip
"""Modes that are off in a terminal's initial state."""
_OFF = {b"25", b"7"}
"""Modes that are on in the initial state: the cursor and line wrapping."""


class Emulator:
    """A screen fed with a program's output."""

    def __init__(self, columns: int, rows: int) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._modes: dict[bytes, bool] = {}
        self._pushed = 0
        self._rest = b""

    def take(self, chunk: bytes) -> tuple[bytes, bytes]:
        """Return (the terminal's answer, the bytes to draw)."""
        written, at, answers, drawable = self._rest + chunk, 0, b"", b""
        for found in _ESCAPE.finditer(written):
            drawable += written[at : found.start()]
            at = found.end()
            if found["final"] and not found["mark"] and not found["between"]:
                drawable += found[0]
            elif found["final"] is None and len(found[0]) <= 3:
                drawable += found[0]
            self._note(found)
            answers += _answer(found[0])
        tail = written[at:]
        start = tail.find(b"\x1b")  # an incomplete sequence
        self._rest = tail[start:] if start >= 0 else b""
        return answers, drawable + (tail[:start] if start >= 0 else tail)

    def draw(self, drawable: bytes) -> None:
        """Draw bytes on the screen. Slow: called while the program writes nothing."""
        self._stream.feed(drawable)

    @property
    def text(self) -> str:
        """The screen's lines as text."""
        return "\n".join(self.screen.display)

    def _note(self, found: re.Match[bytes]) -> None:
        """Track the modes that a program must restore."""
        mark, final, numbers = found["mark"], found["final"], found["numbers"] or b""
        if mark == b"?" and final in (b"h", b"l"):
            self._modes.update(dict.fromkeys(numbers.split(b";"), final == b"h"))
        elif final == b"u" and mark == b">":
            self._pushed += 1
        elif final == b"u" and mark == b"<":
            self._pushed = max(0, self._pushed - int(numbers or 1))

    def left_on(self) -> list[str]:
        """Return the modes that differ from the initial state."""
        left = [mode for mode, on in self._modes.items() if on and mode in _ON]
        left += [mode for mode, on in self._modes.items() if not on and mode in _OFF]
        return [f"mode {mode.decode()}" for mode in left] + ["keyboard"] * bool(self._pushed)


def _answer(sequence: bytes) -> bytes:
    for query, answer in _QUERIES:
        if found := query.fullmatch(sequence):
            return answer.replace(b"\\1", found[1]) if found.groups() else answer
    return b""
