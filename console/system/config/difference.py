"""Differences between two configurations, key by key, without possible secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256

import msgspec

from console.core import secret_redaction
from console.system.config.schema import Settings

DigestedSettings = Mapping[str, tuple[str, str]]
"""Key -> (the value as it may be displayed, its digest)."""

ABSENT_VALUE = "not set"
HIDDEN_VALUE = "(hidden)"
MAX_EXCERPT_CHARS, MAX_VALUE_CHARS = 120, 2000
_SECRET_KEY_PATTERN = re.compile(r"(\.env|\.match_env)\.|^alerts\.hook$")
"""Keys whose values are often secrets. Only the fact that they changed is reported."""


def digest_settings(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return every key that is set, with dotted names such as `roles.worker.command`."""
    values = dict(_flatten(msgspec.to_builtins(settings), ""))
    return {key: (_display_value(key, value), _digest(value)) for key, value in values.items()}


def describe_differences(before: DigestedSettings, after: DigestedSettings) -> list[str]:
    """Return `key: old → new` for each changed key, and one line per added or removed role."""
    lines, roles = [], (_role_names(before), _role_names(after))
    lines += [f"roles.{name}: removed" for name in roles[0] if name not in roles[1]]
    lines += [f"roles.{name}: added" for name in roles[1] if name not in roles[0]]
    both = roles[0].keys() & roles[1].keys()
    for key in dict.fromkeys((*before, *after)):
        if (name := _role_name(key)) is not None and name not in both:
            continue
        old, new = before.get(key, (ABSENT_VALUE, "")), after.get(key, (ABSENT_VALUE, ""))
        if old[1] == new[1]:
            continue
        if old[0] == new[0]:
            lines.append(f"{key}: changed {_excerpt(old[0], 0)}")
            continue
        pairs = enumerate(zip(old[0], new[0], strict=False))
        start = next((at for at, (char, other) in pairs if char != other), MAX_EXCERPT_CHARS)
        lines.append(f"{key}: {_excerpt(old[0], start)} → {_excerpt(new[0], start)}")
    return lines


def _role_names(values: DigestedSettings) -> dict[str, None]:
    names = map(_role_name, values)
    return dict.fromkeys(name for name in names if name is not None)


def _role_name(key: str) -> str | None:
    table, _, rest = key.partition(".")
    return rest.partition(".")[0] if table == "roles" else None


def _flatten(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else str(name))
    elif value is not None:
        yield key, value


def _display_value(key: str, value: object) -> str:
    if _SECRET_KEY_PATTERN.search(key):
        return HIDDEN_VALUE
    shown = secret_redaction.redact_values(value, key.rpartition(".")[2])
    return json.dumps(shown, ensure_ascii=False)[:MAX_VALUE_CHARS]


def _excerpt(text: str, start: int) -> str:
    """Return the part of a long text around `start`, where it begins to differ."""
    if len(text) <= MAX_EXCERPT_CHARS:
        return text
    begin = max(0, start - MAX_EXCERPT_CHARS // 4)
    part = text[begin : begin + MAX_EXCERPT_CHARS]
    return ("…" if begin else "") + part + ("…" if begin + MAX_EXCERPT_CHARS < len(text) else "")


def _digest(value: object) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:16]
