"""The start lock: serializes starts of the same script by the same user.

The lock files lie beside the records of the user's workers, one for each script name. A start holds
the lock from its last observation of the process table until its worker is visible there or has a
record. The kernel releases the lock when caller, shim and the child that becomes the worker have
closed it. So a killed caller leaves no gap in which a second start would not see the worker.

The script's name identifies the lock, not the role's complete rule: an older configuration may have
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

from console.core.model.roles import Role
from console.core.processes.argv_matching import script_stem
from console.system import clock
from console.system.accounts import role_user_id
from console.system.locks import ofd_lock
from console.system.locks.ofd_lock import HeldLock, LockFileError
from console.system.processes import worker_registry

if TYPE_CHECKING:
    import pwd
    import socket

SHARED_LOCK_DIRECTORY = Path("/var/lib/rpa-console")
"""Start locks of roles with `scope = "machine"`. An administrator creates the directory."""


def acquire(role: Role) -> HeldLock | None:
    """Take the start lock of the role's script; return None while another start holds it.

    Without a usable directory, return a HeldLock without a descriptor. Raises LockFileError.
    """
    if role.scope == "machine":
        return _acquire_shared(SHARED_LOCK_DIRECTORY / _lock_name(role))
    user = role_user_id(role)
    if user in (os.geteuid(), -1):
        return _acquire_own(role)
    return _acquire_as_user(role, user)


def _lock_name(role: Role) -> str:
    return re.sub(r"[^\w.-]", "_", script_stem(role.match))[:100] + ".start"


def _acquire_own(role: Role) -> HeldLock | None:
    directory = worker_registry.directory()
    if directory is None:
        return HeldLock(Path(), -1)
    worker_registry.remove_stale_records(directory)
    return ofd_lock.acquire(directory / _lock_name(role))


CHILD_TIMEOUT_S = 5.0
"""How long root waits for a process of the role's user to take the start lock."""


def _acquire_as_user(role: Role, user: int) -> HeldLock | None:
    """Take the start lock of another user, whose own rpa-console uses the same lock.

    Root opens no file below a directory of that user: a child with the user's rights takes the
    lock and sends its descriptor. Raises LockFileError.
    """
    import pwd  # before the fork: another thread may hold the import lock
    import signal
    import socket

    account = pwd.getpwuid(user)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _acquire_and_send(role, account, theirs)
        theirs.close()
        ours.settimeout(CHILD_TIMEOUT_S)
        try:
            answer, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)
        except TimeoutError:
            os.kill(child, signal.SIGKILL)  # our child, not reaped: its PID is not reused
            raise LockFileError(
                f"the start lock of user {role.user}: {account.pw_dir} does not answer"
            ) from None
        finally:
            _reap(child)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        return HeldLock(Path(), descriptor)
    if answer == REPLY_HELD:
        return None
    if answer == REPLY_NO_DIRECTORY:
        return HeldLock(Path(), -1)
    raise LockFileError(f"the start lock of user {role.user}: {answer.decode('utf-8', 'replace')}")


REPLY_ACQUIRED, REPLY_HELD, REPLY_NO_DIRECTORY = b"taken", b"held", b"no place"
"""The child's replies. Any other reply is the reason why it could not take the lock."""
_REAP_TIMEOUT_S = 1.0


def _reap(child: int) -> None:
    """Reap a child that is exiting. A child that hangs in a file system is left to init."""
    deadline = clock.tick() + _REAP_TIMEOUT_S
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(child, os.WNOHANG)[0] == 0 and clock.tick() < deadline:
            time.sleep(0.005)


def _acquire_and_send(role: Role, account: pwd.struct_passwd, channel: socket.socket) -> NoReturn:
    """Switch to the user in the child, take the lock, send its descriptor, and exit."""
    from socket import send_fds

    try:
        os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        held_lock = _acquire_own(role)
        if held_lock is None:
            channel.send(REPLY_HELD)
        elif held_lock.descriptor < 0:
            channel.send(REPLY_NO_DIRECTORY)
        else:
            send_fds(channel, [REPLY_ACQUIRED], [held_lock.descriptor])
    except (OSError, LockFileError) as error:
        with contextlib.suppress(OSError):
            channel.send(str(error).encode("utf-8", "replace")[:1000])
    finally:
        os._exit(0)


def _acquire_shared(path: Path) -> HeldLock | None:
    """Take a lock that every user of the machine may take; None if held. Raises LockFileError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        try:  # the kernel refuses to create over another user's file in a sticky directory
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            descriptor = os.open(path, flags | os.O_CREAT, 0o666)
            os.fchmod(descriptor, 0o666)
    except OSError as error:
        raise LockFileError(f"{path}: the lock cannot be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise LockFileError(f"{path}: unsafe lock file: expected a regular file with one name")
    if ofd_lock.try_lock(descriptor):
        return HeldLock(path, descriptor)
    os.close(descriptor)
    return None


def acquire_refusal(role: Role) -> str | None:
    """Return the reason why the start lock cannot be taken; None if it can, or if it is held."""
    if reason := scope_refusal(role):
        return reason
    try:
        held_lock = acquire(role)
    except LockFileError as error:
        return str(error)
    if held_lock is not None:
        held_lock.close()
    return None


def describe_holder(role: Role) -> str:
    """Return a message that names the holders of the role's start lock; empty if none is found."""
    directory = SHARED_LOCK_DIRECTORY if role.scope == "machine" else worker_registry.directory()
    if directory is None:
        return ""
    path = directory / _lock_name(role)
    pids = ", ".join(map(str, ofd_lock.lock_holder_pids(path)))
    return f"the start lock {path} is held by PID {pids}" if pids else ""


def scope_refusal(role: Role) -> str | None:
    """Return the reason why the role's scope cannot be enforced here; None if it can."""
    if role.scope != "machine":
        return None
    with contextlib.suppress(OSError):
        mode = SHARED_LOCK_DIRECTORY.stat().st_mode
        sticky = bool(mode & stat.S_ISVTX) or not mode & 0o002
        if os.access(SHARED_LOCK_DIRECTORY, os.W_OK) and sticky:
            return None
    return (
        f'{SHARED_LOCK_DIRECTORY}: scope = "machine" needs this directory, '
        "writable for every user of the role; "
        f"an administrator makes it: install -d -m 1777 {SHARED_LOCK_DIRECTORY}"
    )
