"""Sanitizes untrusted text, and formats durations, sizes and times for display.

All untrusted text passes through this module before it reaches a screen.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from console.core.model.time import Moment
from console.core.secret_redaction import redact

# Cc: C0, DEL and C1. Cf: bidi controls, zero-width characters, BOM, tags. Cs: lone surrogates.
# Zl, Zp: U+2028 and U+2029. Co, Cn: private or unassigned, of unknown width.
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
_SECRET_LOOKAHEAD_CHARS = 200


def sanitize_text(text: str, max_chars: int = 10_000) -> str:
    r"""Return `text` without secrets, with each character that a terminal may interpret escaped.

    At most `max_chars` characters are examined. An ellipsis marks truncated text.
    """
    # The look-ahead recognises a secret that the limit cuts.
    part = text[: max_chars + _SECRET_LOOKAHEAD_CHARS]
    if (redacted := redact(part)) is not part:
        text = redacted + text[max_chars + _SECRET_LOOKAHEAD_CHARS :]
    cut = text[:max_chars]
    if not cut.isprintable():  # a printable text has no unsafe character
        cut = "".join(_escape_char(char) for char in cut)
    return cut + ("…" if len(text) > max_chars else "")


def _escape_char(char: str) -> str:
    from unicodedata import category  # rarely needed; importing takes 0.5 ms

    if category(char) not in _UNSAFE_CATEGORIES:
        return char
    code = ord(char)
    if code < 0x100:
        return {"\t": "    ", "\n": "\\n", "\r": "\\r"}.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape_json(document: str) -> str:
    r"""Return a JSON document with each character that a terminal may interpret as `\uXXXX`."""
    if document.isascii():  # `json` escapes control characters itself
        return document
    return "".join(
        char if char in "\n " or char.isprintable() else _json_escape(char) for char in document
    )


def _json_escape(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


def find_casefolded(text: str, word: str, direction: int = 1) -> tuple[int, int] | None:
    """Return (begin, end) of a casefolded `word` in `text`, or None if it is not found.

    The search ignores case. It finds the first occurrence, or the last one if `direction` is
    negative. Casefolding can turn one character into two (`ß` into `ss`); the result indexes `text`
    itself.
    """
    folded = text.casefold()
    at = folded.rfind(word) if direction < 0 else folded.find(word)
    if at < 0:
        return None
    if len(folded) == len(text):  # casefolding lengthened no character
        return at, at + len(word)
    return _original_index(text, at), _original_index(text, at + max(0, len(word) - 1)) + 1


def _original_index(text: str, folded_index: int) -> int:
    """Return the index of the character of `text` that casefolding moves to `folded_index`."""
    first, last = 0, len(text)
    while last - first > 1:
        middle = (first + last) // 2
        length = len(text[first:middle].casefold())
        if length <= folded_index:
            first, folded_index = middle, folded_index - length
        else:
            last = middle
    return first


def format_duration(seconds: float | None) -> str:
    """Return a duration in at most six characters: `12s`, `3m`, `3h07m`, `6d02h`; `?` for None.

    The resolution is coarse so that the text seldom changes.
    """
    if seconds is None:
        return "?"
    whole_s = max(0, int(seconds))
    if whole_s < 60:
        return f"{whole_s}s"
    if whole_s < 3600:
        return f"{whole_s // 60}m"
    if whole_s < 86400:
        return f"{whole_s // 3600}h{whole_s % 3600 // 60:02d}m"
    return f"{whole_s // 86400}d{whole_s % 86400 // 3600:02d}h"


def format_coarse_duration(seconds: float | None) -> str:
    """Return `format_duration`, rounded down to 10 s for durations from 10 s to 60 s.

    An age that changes every second costs bandwidth on an SSH link.
    """
    if seconds is not None and 10 <= seconds < 60:
        seconds = seconds // 10 * 10
    return format_duration(seconds)


def format_size(byte_count: float | None) -> str:
    """Return a size with a binary unit in at most five characters: `987K`, `1.2G`; `?` for None."""
    if byte_count is None:
        return "?"
    value = float(byte_count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1000 or unit == "T":
            return f"{value:.1f}{unit}" if value < 10 and unit != "B" else f"{value:.0f}{unit}"
        value /= 1024
    raise AssertionError("unreachable")


def format_utc(moment: Moment | None) -> str | None:
    """Return ISO 8601 in UTC with milliseconds and `Z`, for machines; None for None."""
    if moment is None:
        return None
    stamp = datetime.fromtimestamp(moment.at, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{stamp.microsecond // 1000:03d}Z"


def format_clock(moment: Moment | None, zone: tzinfo | None = None) -> str:
    """Return `HH:MM:SS` in `zone` (None: the machine's zone), or `--:--:--` for None."""
    if moment is None:
        return "--:--:--"
    return datetime.fromtimestamp(moment.at, UTC).astimezone(zone).strftime("%H:%M:%S")


def format_date_time(moment: Moment | None, zone: tzinfo | None = None) -> str:
    """Return `YYYY-MM-DD HH:MM:SS` in `zone` (None: the machine's zone), or `-` for None."""
    if moment is None:
        return "-"
    return datetime.fromtimestamp(moment.at, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
