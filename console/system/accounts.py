"""User accounts by number and name, and the users whose processes belong to a role."""

from __future__ import annotations

import os
from collections.abc import Iterable

from console.core.model.roles import Role


def role_user_id(role: Role) -> int:
    """Return the uid whose processes belong to the role; -1 if the user does not exist here."""
    if role.user is None:
        return os.geteuid()
    import pwd

    try:
        return pwd.getpwnam(role.user).pw_uid
    except KeyError:
        return -1


def role_user_ids(roles: Iterable[Role]) -> dict[str, int]:
    """Return role -> uid, without roles for all users; -1 for a user that does not exist."""
    return {role.name: role_user_id(role) for role in roles if role.scope != "machine"}


def user_name(uid: int | None) -> str:
    """Return the account's name; the number if it has no name; `?` for None."""
    if uid is None:
        return "?"
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def describe_account(uid: int) -> str:
    """Return the account for messages: `uid 1000 (ana)`, or `uid 1000` without a name."""
    name = user_name(uid)
    return f"uid {uid}" if name == str(uid) else f"uid {uid} ({name})"
