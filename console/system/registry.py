"""The workers that all boxes of one user run or have adopted on this machine.

The life lock belongs to a state directory, and one user may have several. So each worker has a
record in one directory that follows from the user alone, whatever `HOME`, configuration or state
directory a command was given. The record is written before the worker's program starts, and names
it by identity: a worker that changes its command line is still found.

The directory holds one start lock for each script name. A start holds it from its last look at the
process table until its worker can be seen there or has its record. The kernel releases it when
caller, shim and the child that becomes the worker have closed it, so a killed caller cannot leave
a gap in which a second start would see nothing.

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
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from console.core.frozen import frozen
from console.core.matching import stem_of
from console.core.model import Identity, Role
from console.system import lock, proc
from console.system.lock import Grant, LeaseError

NAME = "rpa-console-workers"
SHARED = Path("/var/lib/rpa-console")
"""The directory of the start locks of roles with `scope = "machine"`: an administrator makes it."""
MAX_BYTES = 16_384
MAX_RECORDS = 10_000


@frozen
class Record:
    """One worker that some box of this user runs or has adopted."""

    identity: Identity
    box: str
    """The state directory."""
    rule: str
    """What the role matches, see `rule`."""
    token: int | None = None
    """None: adopted."""


def rule(role: Role) -> str:
    """The role's matching rule as one text: equal for roles that mean the same processes."""
    parts = [role.match, role.match_args, role.match_cwd, sorted(role.match_env.items()), role.user]
    return json.dumps(parts, ensure_ascii=False)


# --- the directory --------------------------------------------------------------------------


def directory() -> Path | None:
    """The directory of this user's records, made if it is missing; None where there is none."""
    for place in _places():
        if _usable(place):
            return place
    return None


def _places() -> list[Path]:
    uid = os.geteuid()
    places = [Path(f"/tmp/rpa-console-{uid}")]
    if home := _home(uid):
        places.insert(0, Path(home) / ".local" / "state" / NAME)
    return places


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
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return ours and not status.st_mode & 0o022 and os.access(place, os.W_OK)


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
    return Record(Identity.parse(value["identity"]), str(value["box"]), str(value["rule"]), token)


def entry(role: Role, box: str, token: int | None) -> dict[str, object]:
    """A record's content, but for the identity: the shim's child adds its own."""
    return {"box": box, "rule": rule(role), "token": token}


def adopt(role: Role, box: str, identity: Identity) -> None:
    """Record a worker that something else has started. Where that fails, its match tells it."""
    place = directory()
    if place is None:
        return
    content = {"identity": str(identity), **entry(role, box, None)}
    with contextlib.suppress(OSError):
        _write(place / f"{identity.pid}.{identity.ticks}.json", json.dumps(content))


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


# --- the start lock -------------------------------------------------------------------------


def take_start(role: Role) -> Grant | None:
    """The start lock of the role's script; None while another start holds it.

    Where no directory is usable, a grant that locks nothing. Raises LeaseError.
    """
    name = re.sub(r"[^\w.-]", "_", stem_of(role.match))[:100] + ".start"
    if role.scope == "machine":
        return _take_shared(SHARED / name)
    place = directory()
    if place is None:
        return Grant(Path(), -1)
    tidy(place)
    return lock.take(place / name)


def _take_shared(path: Path) -> Grant | None:
    """The lock of a file that every user of the machine may lock. Raises LeaseError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        try:  # the kernel refuses to create over another user's file in a sticky directory
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o666)
            os.fchmod(descriptor, 0o666)
    except OSError as error:
        raise LeaseError(f"{path}: the lock cannot be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise LeaseError(f"{path}: unsafe lock file: expected a regular file with one name")
    if lock.lock(descriptor):
        return Grant(path, descriptor)
    os.close(descriptor)
    return None


def unusable(role: Role) -> str | None:
    """Why the role's scope cannot be kept here; None when it can."""
    if role.scope != "machine" or os.access(SHARED, os.W_OK):
        return None
    return (
        f'{SHARED}: scope = "machine" needs this directory, writable for every user of the role; '
        f"an administrator makes it: install -d -m 1777 {SHARED}"
    )
