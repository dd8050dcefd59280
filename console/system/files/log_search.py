"""Paging and searching in large logs, in bounded memory."""

from __future__ import annotations

import os
from pathlib import Path

from console.core.model.logs import LogPage, LogSearchResult
from console.core.text.formatting import find_casefolded
from console.system.files.safe_files import BLOCK_BYTES, FileError, open_regular, split_lines

MAX_UTF8_BYTES_PER_CHAR = 4
"""Maximum UTF-8 length of one character."""
SEARCH_CHUNK_BYTES = 16_000_000
"""Bytes that one call searches at most: the caller can continue or stop between calls."""


def read_before(path: Path, end: int, limit: int = BLOCK_BYTES) -> LogPage:
    """Return the whole lines that end at byte offset `end`, at most `limit` bytes."""
    try:
        with open_regular(path) as (fd, status):
            end = min(end, status.st_size)
            start = max(0, end - limit)
            raw = os.pread(fd, end - start, start)
    except FileError as error:
        return LogPage(str(path), error=str(error))
    if start > 0:
        lines = raw[raw.find(b"\n") + 1 :] or raw  # no line begins here: keep all
        start, raw = end - len(lines), lines
    return LogPage(str(path), split_lines(raw, start), start, end, status.st_size)


def find_word(
    path: Path, word: str, start: int, direction: int, limit: int = SEARCH_CHUNK_BYTES
) -> LogSearchResult:
    """Return the next line after (1), or the last one before (-1), `start` that contains `word`.

    `word` is casefolded; the search ignores case. An ASCII word is searched in bytes, which takes
    a quarter of the time and does not match `ß` with `ss`. `LogSearchResult.goes_on` is the offset
    at which to continue.
    """
    longest = len(word) * (1 if word.isascii() else MAX_UTF8_BYTES_PER_CHAR)
    # Decoded text may take eight times the memory of its bytes.
    limit = max(limit if word.isascii() else limit // 4, 2 * longest)
    try:
        with open_regular(path) as (fd, status):
            size = status.st_size
            first = max(0, start - limit) if direction < 0 else max(0, start)
            last = min(size, start if direction < 0 else start + limit)
            # A word across the boundary of two parts belongs to the earlier part.
            reach = last - first + (longest - 1 if direction > 0 else 0)
            at = _find_in_bytes(os.pread(fd, max(0, reach), first), word, direction)
            if at < 0:
                more = first + longest - 1 if direction < 0 else last
                return LogSearchResult(
                    None, more if (first > 0 if direction < 0 else last < size) else None, size
                )
            return LogSearchResult(_line_start(fd, first + at), None, size)
    except FileError:
        return LogSearchResult(None, None, 0)


def _find_in_bytes(raw: bytes, word: str, direction: int) -> int:
    """Return the byte offset of the first (1) or last (-1) occurrence of `word`; -1 if none."""
    if word.isascii():
        lowered, wanted = raw.lower(), word.encode()
        return lowered.rfind(wanted) if direction < 0 else lowered.find(wanted)
    text = raw.decode("utf-8", "surrogateescape")
    span = find_casefolded(text, word, direction)
    return -1 if span is None else len(text[: span[0]].encode("utf-8", "surrogateescape"))


def _line_start(fd: int, at: int) -> int:
    """Return the start of the line around offset `at`, at most half a block before it."""
    first = max(0, at - BLOCK_BYTES // 2)
    raw = os.pread(fd, at - first, first)
    return first + raw.rfind(b"\n") + 1
