"""The workers that all boxes of one user run or have adopted on this machine.

The life lock belongs to a state directory, and one user may have several. So each worker has a
record in one directory that follows from the user alone, whatever `HOME`, configuration or state
directory a command was given. The record is written before the worker's program starts, and names
it by identity: a worker that changes its command line is still found.

The directory lies in the home directory of the password database, because other users can neither
create nor replace it. An abstract socket was tried in its place: any user can bind the name first,
and by letting go of it in between make two callers take different names. Where there is no usable
home, `/tmp/rpa-console-UID` takes its place; where there is none at all, the look at the process
table remains.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from console.core.frozen import frozen
from console.core.model import Identity, Role
from console.system import proc
from console.system.accounts import user_id

NAME = "rpa-console-workers"
MAX_BYTES = 16_384
MAX_RECORDS = 10_000


@frozen
class Record:
    """One worker that some box of this user runs or has adopted."""

    identity: Identity
    box: str
    """The state directory."""
    role: str
    rule: str
    """What the role matches, see `rule`."""
    token: int | None = None
    """None: adopted."""


def rule(role: Role) -> str:
    """The role's matching rule as one text: equal for roles that mean the same processes."""
    user = user_id(role)
    parts = [role.match, role.match_args, role.match_cwd, sorted(role.match_env.items()), user]
    return json.dumps(parts, ensure_ascii=False)


# --- the directory --------------------------------------------------------------------------


def directory() -> Path | None:
    """The directory of this user's records, made if it is missing; None where there is none."""
    return next(filter(_usable, places(os.geteuid())), None)


def places(uid: int) -> list[Path]:
    """Where a user's records may lie, the best place first."""
    found = [Path(f"/tmp/rpa-console-{uid}")]
    if home := _home(uid):
        found.insert(0, Path(home) / ".local" / "state" / NAME)
    return found


def _home(uid: int) -> str | None:
    """The user's home directory by the password database, if it is on this machine's own disk."""
    import pwd

    from console.system.paths import network_filesystem

    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        return None
    if not os.path.isabs(home) or network_filesystem(Path(home), resolve=False):
        return None
    return home


def _usable(place: Path) -> bool:
    """Whether the directory is there and this user's alone, made if that is possible."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if status.st_mode & 0o077:
        with contextlib.suppress(OSError):
            place.chmod(0o700)
    return os.access(place, os.W_OK)


# --- records --------------------------------------------------------------------------------


def known(place: Path | None = None) -> tuple[Record, ...]:
    """The records of the workers that live."""
    place = place or directory()
    if place is None:
        return ()
    found = []
    for path in _paths(place):
        record = _read(path)
        if record is not None and proc.alive(record.identity):
            found.append(record)
    return tuple(found)


def _paths(place: Path) -> list[Path]:
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith(".json"))
    except OSError:
        return []
    return [place / name for name in names[:MAX_RECORDS]]


def _read(path: Path) -> Record | None:
    """A record; None where the file is no record."""
    try:
        return _record(json.loads(proc.read(str(path), MAX_BYTES).decode()))
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def _record(value: object) -> Record:
    """Raises KeyError, TypeError or ValueError."""
    if not isinstance(value, Mapping):
        raise TypeError
    token = value["token"]
    if token is not None and not isinstance(token, int):
        raise TypeError
    box, role, told = (str(value[key]) for key in ("box", "role", "rule"))
    return Record(Identity.parse(value["identity"]), box, role, told, token)


def entry(role: Role, box: str, token: int | None) -> dict[str, object]:
    """A record's content, but for the identity: the shim's child adds its own."""
    return {"box": box, "role": role.name, "rule": rule(role), "token": token}


def adopt(role: Role, box: str, identity: Identity) -> None:
    """Record a worker that something else has started. Where that fails, its match tells it."""
    place = directory()
    if place is None:
        return
    content = {"identity": str(identity), **entry(role, box, None)}
    with contextlib.suppress(OSError):
        _write(place / f"{identity.pid}.{identity.ticks}.json", json.dumps(content))


def own_token(role: Role, box: str, identity: Identity) -> int | None:
    """The token under which this very box has started the worker, by the worker's record."""
    place = directory()
    known = _read(place / f"{identity.pid}.{identity.ticks}.json") if place is not None else None
    if known is None or (known.identity, known.box, known.role) != (identity, box, role.name):
        return None
    return known.token


def _write(path: Path, text: str) -> None:
    """Raises OSError."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    os.replace(draft, path)


def tidy(place: Path) -> None:
    """Remove the records of processes that are gone, by PID and start ticks alone."""
    for path in _paths(place):
        pid, _, ticks = path.stem.partition(".")
        now = proc.stat_of(int(pid)) if pid.isdigit() else None
        if now is None or str(now[2]) != ticks:
            path.unlink(missing_ok=True)
