"""Whether one process could run two roles, by the rules that tell a role's processes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from console.core.model import Role


def overlap(one: Role, other: Role) -> str | None:
    """Why the rules of two roles can match the same process, or None when they cannot."""
    if not _same_script(one.match, other.match):
        return None
    if _apart_by_words(one.match_args, other.match_args):
        return None
    if None not in (one.match_cwd, other.match_cwd) and one.match_cwd != other.match_cwd:
        return None
    shared = one.match_env.keys() & other.match_env.keys()
    if any(one.match_env[key] != other.match_env[key] for key in shared):
        return None
    return (
        f"roles {one.name!r} ({_rule(one)}) and {other.name!r} ({_rule(other)}) can match the "
        f"same process; tell both apart by match_args, match_cwd or match_env"
    )


def overlaps(roles: Iterable[Role]) -> list[str]:
    """Each pair of roles that can match the same process, in words."""
    found = (overlap(one, other) for one, other in combinations(roles, 2))
    return [reason for reason in found if reason is not None]


def _same_script(one: str, other: str) -> bool:
    """Whether one path can end in both."""
    parts, others = (match.strip("/").split("/")[::-1] for match in (one, other))
    return all(a == b for a, b in zip(parts, others, strict=False))


def _apart_by_words(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether each role wants a word that the other one does not."""
    words, others = set(one), set(other)
    return bool(words - others) and bool(others - words)


def _rule(role: Role) -> str:
    return " ".join((role.match, *role.match_args))
