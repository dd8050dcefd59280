"""The patterns of `[screen] redact`: validation at load time, and use with a timeout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.core.secret_redaction import MASK

if TYPE_CHECKING:
    import regex

PATTERN_TIMEOUT_S = 0.1
"""Maximum time of one pattern for one text."""
TIMED_OUT_TEXT = f"{MASK} (a pattern of [screen] redact took too long)"


def pattern_refusal(pattern: str) -> str | None:
    """Return the reason why the pattern cannot be used, or None."""
    import regex  # the import takes 10 ms, and most configurations have no patterns

    try:
        compiled = regex.compile(pattern)
        if compiled.match("", timeout=PATTERN_TIMEOUT_S):
            return "it matches the empty text, so every text"
    except regex.error as error:
        return f"not a regular expression: {error}"
    except TimeoutError:
        return "it takes too long"
    return None


def compile_redactor(patterns: Sequence[str]) -> Callable[[str], str] | None:
    """Return a function that replaces matches of the patterns by `***`; None without patterns."""
    if not patterns:
        return None
    import regex

    return _Redactor([regex.compile(pattern) for pattern in patterns])


class _Redactor:
    """A redaction function. On a timeout of a pattern, it hides the whole text."""

    def __init__(self, patterns: Sequence[regex.Pattern[str]]) -> None:
        self._patterns = patterns

    def __call__(self, text: str) -> str:
        try:
            for pattern in self._patterns:
                text = pattern.sub(MASK, text, timeout=PATTERN_TIMEOUT_S)
        except TimeoutError:
            return TIMED_OUT_TEXT
        return text
