"""Foreign text made harmless, and figures made readable: the one gate before any screen."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from console.core.model import Moment
from console.core.secret_redaction import redact

# Cc: C0, DEL and C1. Cf: bidi controls, zero-width characters, BOM, tags. Cs: lone surrogates.
# Zl, Zp: U+2028 and U+2029. Co, Cn: private or unassigned, of unknown width.
_HOSTILE = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
_AHEAD = 200


def visible(text: str, limit: int = 10_000) -> str:
    r"""`text` without secrets, every character that a terminal might obey replaced by its escape.

    At most `limit` characters are looked at; what was left out is marked with an ellipsis.
    """
    part = text[: limit + _AHEAD]  # a secret that the limit cuts is still recognised
    if (redacted := redact(part)) is not part:
        text = redacted + text[limit + _AHEAD :]
    cut = text[:limit]
    if not cut.isprintable():  # nothing hostile is
        cut = "".join(_shown(char) for char in cut)
    return cut + ("…" if len(text) > limit else "")


def _shown(char: str) -> str:
    from unicodedata import category  # seldom needed, and half a millisecond of each command

    if category(char) not in _HOSTILE:
        return char
    code = ord(char)
    if code < 0x100:
        return {"\t": "    ", "\n": "\\n", "\r": "\\r"}.get(char, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_escaped(document: str) -> str:
    r"""A JSON document with every character that a terminal might obey as `\uXXXX`."""
    if document.isascii():  # `json` has escaped the control characters itself
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


def folded(text: str, word: str, way: int = 1) -> tuple[int, int] | None:
    """Where a casefolded `word` first (way 1) or last (-1) lies in `text`: begin and end.

    Either case of any letter is the same, and what is one letter here may be two there: `ß`, `SS`.
    """
    whole = text.casefold()
    at = whole.rfind(word) if way < 0 else whole.find(word)
    if at < 0:
        return None
    if len(whole) == len(text):  # no letter has become two
        return at, at + len(word)
    return _unfolded(text, at), _unfolded(text, at + max(0, len(word) - 1)) + 1


def _unfolded(text: str, at: int) -> int:
    """Which character of `text` has become the one at `at` when all were casefolded."""
    first, last = 0, len(text)
    while last - first > 1:
        middle = (first + last) // 2
        length = len(text[first:middle].casefold())
        if length <= at:
            first, at = middle, at - length
        else:
            last = middle
    return first


def duration(seconds: float | None) -> str:
    """At most six characters that change seldom: `12s`, `3m`, `3h07m`, `6d02h`; `?` if unknown."""
    if seconds is None:
        return "?"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def coarse(seconds: float | None) -> str:
    """Like `duration`, but steps by ten seconds under a minute: a ticking age costs an SSH link."""
    if seconds is not None and 10 <= seconds < 60:
        seconds = seconds // 10 * 10
    return duration(seconds)


def size(count: float | None) -> str:
    """Bytes with a binary unit, at most five characters: `987K`, `1.2G`; `?` if unknown."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "K", "M", "G", "T"):
        if value < 1000 or unit == "T":
            return f"{value:.1f}{unit}" if value < 10 and unit != "B" else f"{value:.0f}{unit}"
        value /= 1024
    raise AssertionError("unreachable")


def utc(moment: Moment | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and `Z`, for machines."""
    if moment is None:
        return None
    stamp = datetime.fromtimestamp(moment.at, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{stamp.microsecond // 1000:03d}Z"


def clock(moment: Moment | None, zone: tzinfo | None = None) -> str:
    """Hours, minutes and seconds in `zone` (the machine's own when None), for people."""
    if moment is None:
        return "--:--:--"
    return datetime.fromtimestamp(moment.at, UTC).astimezone(zone).strftime("%H:%M:%S")


def day_clock(moment: Moment | None, zone: tzinfo | None = None) -> str:
    """Date and time to the second in `zone` (the machine's own when None)."""
    if moment is None:
        return "-"
    return datetime.fromtimestamp(moment.at, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
