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
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from console.core.frozen import frozen
from console.core.matching import stem_of
from console.core.model import Identity, Role
from console.system import clock, lock, proc
from console.system.lock import Grant, LeaseError

if TYPE_CHECKING:
    import pwd
    import socket

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


def user_id(role: Role) -> int:
    """The user whose processes the role means; -1 where this machine has none of that name."""
    if role.user is None:
        return os.geteuid()
    import pwd

    try:
        return pwd.getpwnam(role.user).pw_uid
    except KeyError:
        return -1


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
    if role.scope == "machine":
        return _take_shared(SHARED / _lock_name(role))
    user = user_id(role)
    if user in (os.geteuid(), -1):
        return _take_own(role)
    return _take_as(role, user)


def _lock_name(role: Role) -> str:
    return re.sub(r"[^\w.-]", "_", stem_of(role.match))[:100] + ".start"


def _take_own(role: Role) -> Grant | None:
    place = directory()
    if place is None:
        return Grant(Path(), -1)
    tidy(place)
    return lock.take(place / _lock_name(role))


ANSWER_S = 5.0
"""How long root waits for a process of the role's user to take the start lock."""


def _take_as(role: Role, user: int) -> Grant | None:
    """The start lock of another user, whose own rpa-console takes the same one.

    Root opens no file below a directory of that user: a child with the user's rights takes the
    lock and hands its descriptor over. Raises LeaseError.
    """
    import pwd  # before the fork: another thread may hold the lock of imports
    import signal
    import socket

    account = pwd.getpwuid(user)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _hand_over(role, account, theirs)
        theirs.close()
        ours.settimeout(ANSWER_S)
        try:
            answer, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)
        except TimeoutError:
            os.kill(child, signal.SIGKILL)  # our child, not reaped: its PID is its own
            raise LeaseError(
                f"the start lock of user {role.user}: {account.pw_dir} does not answer"
            ) from None
        finally:
            _reap(child)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        return Grant(Path(), descriptor)
    if answer == HELD:
        return None
    if answer == NO_PLACE:
        return Grant(Path(), -1)
    raise LeaseError(f"the start lock of user {role.user}: {answer.decode('utf-8', 'replace')}")


TAKEN, HELD, NO_PLACE = b"taken", b"held", b"no place"
"""What the child answers; anything else is the reason why it could not take the lock."""
_REAP_S = 1.0


def _reap(child: int) -> None:
    """Collect a child that is ending; one that a hung file system keeps is left to init."""
    deadline = clock.tick() + _REAP_S
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG)[0] == 0 and clock.tick() < deadline:
            time.sleep(0.005)


def _hand_over(role: Role, account: pwd.struct_passwd, to: socket.socket) -> NoReturn:
    """In the child: become the user, take the lock, send it, end."""
    from socket import send_fds

    try:
        os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        grant = _take_own(role)
        if grant is None:
            to.send(HELD)
        elif grant.descriptor < 0:
            to.send(NO_PLACE)
        else:
            send_fds(to, [TAKEN], [grant.descriptor])
    except (OSError, LeaseError) as error:
        with contextlib.suppress(OSError):
            to.send(str(error).encode("utf-8", "replace")[:1000])
    finally:
        os._exit(0)


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


def refusal(role: Role) -> str | None:
    """Why the start lock could not be taken, whether or not another start holds it; or None."""
    if reason := unusable(role):
        return reason
    try:
        grant = take_start(role)
    except LeaseError as error:
        return str(error)
    if grant is not None:
        grant.close()
    return None


def holder(role: Role) -> str:
    """Which processes hold the role's start lock, in words; empty when none is seen to."""
    place = SHARED if role.scope == "machine" else directory()
    if place is None:
        return ""
    path = place / _lock_name(role)
    pids = ", ".join(map(str, lock.holders(path)))
    return f"the start lock {path} is held by PID {pids}" if pids else ""


def unusable(role: Role) -> str | None:
    """Why the role's scope cannot be kept here; None when it can."""
    if role.scope != "machine":
        return None
    with contextlib.suppress(OSError):
        mode = SHARED.stat().st_mode
        sticky = bool(mode & stat.S_ISVTX) or not mode & 0o002
        if os.access(SHARED, os.W_OK) and sticky:
            return None
    return (
        f'{SHARED}: scope = "machine" needs this directory, writable for every user of the role; '
        f"an administrator makes it: install -d -m 1777 {SHARED}"
    )
