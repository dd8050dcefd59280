"""The start lock: no two starts of one script by one user look at the process table at one time.

It lies beside the records of the user's workers, one for each script name. A start holds it from
its last look at the process table until its worker can be seen there or has its record. The kernel
releases it when caller, shim and the child that becomes the worker have closed it, so a killed
caller cannot leave a gap in which a second start would see nothing.

The script's name, and not the role's whole rule, names the lock: an older configuration may have
another rule for the same processes. Two rules that can match one process share the script's name.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from console.core.model import Role
from console.core.processes.argv_matching import stem_of
from console.system import clock
from console.system.accounts import user_id
from console.system.locks import ofd_lock
from console.system.locks.ofd_lock import Grant, LeaseError
from console.system.processes import worker_registry

if TYPE_CHECKING:
    import pwd
    import socket

SHARED = Path("/var/lib/rpa-console")
"""The directory of the start locks of roles with `scope = "machine"`: an administrator makes it."""


def take(role: Role) -> Grant | None:
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
    place = worker_registry.directory()
    if place is None:
        return Grant(Path(), -1)
    worker_registry.tidy(place)
    return ofd_lock.take(place / _lock_name(role))


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
    if ofd_lock.lock(descriptor):
        return Grant(path, descriptor)
    os.close(descriptor)
    return None


def refusal(role: Role) -> str | None:
    """Why the start lock could not be taken, whether or not another start holds it; or None."""
    if reason := unusable(role):
        return reason
    try:
        grant = take(role)
    except LeaseError as error:
        return str(error)
    if grant is not None:
        grant.close()
    return None


def holder(role: Role) -> str:
    """Which processes hold the role's start lock, in words; empty when none is seen to."""
    place = SHARED if role.scope == "machine" else worker_registry.directory()
    if place is None:
        return ""
    path = place / _lock_name(role)
    pids = ", ".join(map(str, ofd_lock.holders(path)))
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
