"""The patterns of `[screen] redact`: checked when the configuration is read, bounded when used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.core.secret_redaction import MASK

if TYPE_CHECKING:
    import regex

TIMEOUT_S = 0.1
"""The longest time that one pattern may take for one text."""
LATE = f"{MASK} (a pattern of [screen] redact took too long)"


def refuse_pattern(pattern: str) -> str | None:
    """Why the pattern cannot be used, or None."""
    import regex  # takes 10 ms: most configurations have no patterns

    try:
        compiled = regex.compile(pattern)
        if compiled.match("", timeout=TIMEOUT_S):
            return "it matches the empty text, so every text"
    except regex.error as error:
        return f"not a regular expression: {error}"
    except TimeoutError:
        return "it takes too long"
    return None


def compiled(patterns: Sequence[str]) -> Callable[[str], str] | None:
    """A function that replaces what the patterns match by `***`; None without patterns."""
    if not patterns:
        return None
    import regex

    return _Redaction([regex.compile(one) for one in patterns])


class _Redaction:
    """Text that a pattern cannot check in time is hidden whole."""

    def __init__(self, patterns: Sequence[regex.Pattern[str]]) -> None:
        self._patterns = patterns

    def __call__(self, text: str) -> str:
        try:
            for pattern in self._patterns:
                text = pattern.sub(MASK, text, timeout=TIMEOUT_S)
        except TimeoutError:
            return LATE
        return text
