"""Accounts of the machine by number and name, and whose processes a role means."""

from __future__ import annotations

import os
from collections.abc import Iterable

from console.core.model import Role


def user_id(role: Role) -> int:
    """The user whose processes the role means; -1 where this machine has none of that name."""
    if role.user is None:
        return os.geteuid()
    import pwd

    try:
        return pwd.getpwnam(role.user).pw_uid
    except KeyError:
        return -1


def user_ids(roles: Iterable[Role]) -> dict[str, int]:
    """Role -> user id, without the roles that mean every user; -1 where there is no such user."""
    return {role.name: user_id(role) for role in roles if role.scope != "machine"}


def user_name(uid: int | None) -> str:
    """The account's name, its number without one, `?` without a number."""
    if uid is None:
        return "?"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def described(uid: int) -> str:
    """The account as messages name it: `uid 1000 (ana)`, or `uid 1000` without a name."""
    name = user_name(uid)
    return f"uid {uid}" if name == str(uid) else f"uid {uid} ({name})"
