"""How two configurations differ, key by key, without showing what may be a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256

from console.core import secret_redaction
from console.system.config.schema import Settings, msgspec

Values = Mapping[str, tuple[str, str]]
"""Key -> the value as it may be shown, and its digest."""

ABSENT = "not set"
HIDDEN = "(hidden)"
LONGEST, MOST = 120, 2000
_SECRET = re.compile(r"(\.env|\.match_env)\.|^alerts\.hook$")
"""Keys whose values are secrets as often as not: that they have changed is all that is told."""


def digested(settings: Settings) -> dict[str, tuple[str, str]]:
    """Every key of the settings that is set, flat: `roles.worker.command`."""
    found = dict(_flat(msgspec.to_builtins(settings), ""))
    return {key: (_shown(key, value), _digest(value)) for key, value in found.items()}


def differences(before: Values, after: Values) -> list[str]:
    """`key: old → new`, for each key whose value changed; a role that came or went is one line."""
    told, roles = [], (_roles(before), _roles(after))
    told += [f"roles.{name}: removed" for name in roles[0] if name not in roles[1]]
    told += [f"roles.{name}: added" for name in roles[1] if name not in roles[0]]
    both = roles[0].keys() & roles[1].keys()
    for key in dict.fromkeys((*before, *after)):
        if (name := _role(key)) is not None and name not in both:
            continue
        old, new = before.get(key, (ABSENT, "")), after.get(key, (ABSENT, ""))
        if old[1] == new[1]:
            continue
        if old[0] == new[0]:
            told.append(f"{key}: changed {_cut(old[0], 0)}")
            continue
        pairs = enumerate(zip(old[0], new[0], strict=False))
        start = next((at for at, (one, other) in pairs if one != other), LONGEST)
        told.append(f"{key}: {_cut(old[0], start)} → {_cut(new[0], start)}")
    return told


def _roles(values: Values) -> dict[str, None]:
    names = map(_role, values)
    return dict.fromkeys(name for name in names if name is not None)


def _role(key: str) -> str | None:
    table, _, rest = key.partition(".")
    return rest.partition(".")[0] if table == "roles" else None


def _flat(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif value is not None:
        yield key, value


def _shown(key: str, value: object) -> str:
    if _SECRET.search(key):
        return HIDDEN
    shown = secret_redaction.values(value, key.rpartition(".")[2])
    return json.dumps(shown, ensure_ascii=False)[:MOST]


def _cut(text: str, start: int) -> str:
    """The part of a long text where it begins to differ."""
    if len(text) <= LONGEST:
        return text
    begin = max(0, start - LONGEST // 4)
    part = text[begin : begin + LONGEST]
    return ("…" if begin else "") + part + ("…" if begin + LONGEST < len(text) else "")


def _digest(value: object) -> str:
    return sha256(json.dumps(value).encode()).hexdigest()[:16]
