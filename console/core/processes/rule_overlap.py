"""Finds roles whose rules can match the same process."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from console.core.model.roles import Role


def find_overlap(first: Role, second: Role) -> str | None:
    """Return why the rules of two roles can match the same process, or None if they cannot."""
    if not _can_be_same_script(first.match, second.match):
        return None
    if _differ_in_arguments(first.match_args, second.match_args):
        return None
    if None not in (first.match_cwd, second.match_cwd) and first.match_cwd != second.match_cwd:
        return None
    shared = first.match_env.keys() & second.match_env.keys()
    if any(first.match_env[key] != second.match_env[key] for key in shared):
        return None
    return (
        f"roles {first.name!r} ({_format_rule(first)}) and {second.name!r} "
        f"({_format_rule(second)}) can match the same process; "
        f"tell both apart by match_args, match_cwd or match_env"
    )


def find_overlaps(roles: Iterable[Role]) -> list[str]:
    """Return a description of each pair of roles that can match the same process."""
    reasons = (find_overlap(first, second) for first, second in combinations(roles, 2))
    return [reason for reason in reasons if reason is not None]


def _can_be_same_script(first: str, second: str) -> bool:
    """Return True if one path can end in both `first` and `second`."""
    parts, others = (match.strip("/").split("/")[::-1] for match in (first, second))
    return all(a == b for a, b in zip(parts, others, strict=False))


def _differ_in_arguments(first: Iterable[str], second: Iterable[str]) -> bool:
    """Return True if each role requires a word that the other does not."""
    words, others = set(first), set(second)
    return bool(words - others) and bool(others - words)


def _format_rule(role: Role) -> str:
    return " ".join((role.match, *role.match_args))
