"""Large logs: the lines before an offset, and a word anywhere, in bounded memory."""

from __future__ import annotations

import os
from pathlib import Path

from console.core.model import Found, LogPage
from console.core.text.formatting import folded
from console.system.files.safe_files import BLOCK, FileError, lines_of, regular

WIDEST = 4
"""Bytes of UTF-8 that one letter of a word may be in a file."""
CHUNK = 16_000_000
"""Bytes that one call searches at most: a caller goes on, or leaves, in between."""


def before(path: Path, end: int, limit: int = BLOCK) -> LogPage:
    """The whole lines that end at offset `end`, at most `limit` bytes of them."""
    try:
        with regular(path) as (fd, status):
            end = min(end, status.st_size)
            start = max(0, end - limit)
            raw = os.pread(fd, end - start, start)
    except FileError as error:
        return LogPage(str(path), error=str(error))
    if start > 0:
        whole = raw[raw.find(b"\n") + 1 :] or raw  # without a line's beginning, keep all
        start, raw = end - len(whole), whole
    return LogPage(str(path), lines_of(raw, start), start, end, status.st_size)


def find(path: Path, word: str, start: int, way: int, limit: int = CHUNK) -> Found:
    """The next line after (1), or the last one before (-1), `start` that contains a word.

    `word` is casefolded, either case of any letter is the same. One of ASCII letters only is looked
    for in bytes, which costs a quarter and does not take `ß` for `ss`. `Found.goes_on` is where to
    search on.
    """
    longest = len(word) * (1 if word.isascii() else WIDEST)
    # Decoded, a part may take eight times its room.
    limit = max(limit if word.isascii() else limit // 4, 2 * longest)
    try:
        with regular(path) as (fd, status):
            size = status.st_size
            first = max(0, start - limit) if way < 0 else max(0, start)
            last = min(size, start if way < 0 else start + limit)
            # A word that lies across the border belongs to the part before it.
            reach = last - first + (longest - 1 if way > 0 else 0)
            at = _where(os.pread(fd, max(0, reach), first), word, way)
            if at < 0:
                more = first + longest - 1 if way < 0 else last
                return Found(None, more if (first > 0 if way < 0 else last < size) else None, size)
            return Found(_line_start(fd, first + at), None, size)
    except FileError:
        return Found(None, None, 0)


def _where(raw: bytes, word: str, way: int) -> int:
    """Where the first (1) or last (-1) of a word begins, or -1."""
    if word.isascii():
        lowered, wanted = raw.lower(), word.encode()
        return lowered.rfind(wanted) if way < 0 else lowered.find(wanted)
    text = raw.decode("utf-8", "surrogateescape")
    found = folded(text, word, way)
    return -1 if found is None else len(text[: found[0]].encode("utf-8", "surrogateescape"))


def _line_start(fd: int, at: int) -> int:
    """Where the line around an offset begins; where a long one is taken up."""
    first = max(0, at - BLOCK // 2)
    raw = os.pread(fd, at - first, first)
    return first + raw.rfind(b"\n") + 1
