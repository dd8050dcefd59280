"""What this machine and the settings lack: checks that ask the kernel and the file system once.

Each check yields findings. None of them changes anything, and each may be slow or hang: the caller
gives it a thread and a deadline.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from console.core.frozen import frozen
from console.core.model import Role
from console.core.text.formatting import size
from console.system.config.schema import Settings
from console.system.files import hanging_storage
from console.system.files.outside_files import unsafe_directory
from console.system.files.safe_files import FileError
from console.system.host.resource_pressure import scarce
from console.system.processes.procfs import unsupported

OLDEST = 1_735_689_600.0
"""2025-01-01: a clock that shows an earlier time has never been set."""
FEW_INODES = 1000


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILS = "fails"


@frozen
class Finding:
    """What was looked at, and what was seen."""

    check: str
    state: State
    seen: str


def ok(check: str, seen: str) -> Finding:
    return Finding(check, State.OK, seen)


def warning(check: str, seen: str) -> Finding:
    return Finding(check, State.WARNING, seen)


def fails(check: str, seen: str) -> Finding:
    return Finding(check, State.FAILS, seen)


# --- the settings -----------------------------------------------------------------------------


def settings(found: Settings, outputs: Path | None = None) -> Iterator[Finding]:
    """What the settings name and is not there. `outputs`: where they are if nothing names them."""
    from console.system.config.advice import warnings

    for role in found.all_roles():
        yield from _role(role)
    named = found.outputs and Path(os.path.expanduser(found.outputs))
    if place := named or outputs:
        yield from _outputs(place)
    if found.alerts.hook and (why := _missing(found.alerts.hook[0], "/", {})):
        yield fails("alerts.hook", why)
    for words in warnings(found):
        key, _, reason = words.partition(": ")
        yield warning(key, reason)


def _role(role: Role) -> Iterator[Finding]:
    key = f"roles.{role.name}"
    if not role.command:
        return
    try:
        if role.cwd is not None and not _is_directory(role.cwd):
            yield fails(f"{key}.cwd", f"{role.cwd}: is no directory")
            return
        if why := _missing(role.command[0], role.cwd or "/", role.env):
            yield fails(f"{key}.command", why)
            return
        for script in _scripts(role):
            if not hanging_storage.call(os.path.dirname(script), os.path.exists, script):
                yield fails(f"{key}.command", f"{script}: does not exist")
                return
    except FileError as error:
        yield fails(key, str(error))
        return
    yield ok(key, f"{role.command[0]} is there" + (f", {role.cwd} too" if role.cwd else ""))


def _is_directory(path: str) -> bool:
    return bool(hanging_storage.call(path, os.path.isdir, path))


def _missing(word: str, cwd: str, env: dict[str, str] | object) -> str | None:
    """Why a program cannot be executed; None where it can. Raises FileError."""
    from shutil import which

    program = os.path.expanduser(word)
    path = env.get("PATH") if isinstance(env, dict) else None
    if os.sep not in program:
        found = which(program, path=path)
    else:
        place = os.path.join(cwd, program)
        found = place if hanging_storage.call(os.path.dirname(place), _executable, place) else None
    return None if found else f"{program}: is not there or cannot be executed"


def _executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _scripts(role: Role) -> Iterator[str]:
    """The words of the command that name a file of the base name that `match` asks for."""
    base = role.match.split()[0].rpartition("/")[2] if role.match else ""
    for word in role.command[1:]:
        path = os.path.expanduser(word)
        if base and path.rpartition("/")[2] == base:
            yield os.path.join(role.cwd or "/", path)


def _outputs(place: Path) -> Iterator[Finding]:
    path = str(place)
    try:
        there = hanging_storage.call(path, os.path.lexists, path)
        if there and not _is_directory(path):
            yield fails("outputs", f"{path}: is no directory")
            return
        if there and not hanging_storage.call(path, os.access, path, os.R_OK | os.X_OK):
            yield fails("outputs", f"{path}: cannot be read")
            return
    except FileError as error:
        yield fails("outputs", str(error))
        return
    if reason := unsafe_directory(place):
        yield (fails if "nothing is written" in reason else warning)("outputs", reason)
    elif not there:
        yield warning("outputs", f"{path}: does not exist yet")
    else:
        yield ok("outputs", path)


# --- the kernel -------------------------------------------------------------------------------


def kernel() -> Iterator[Finding]:
    """What the guarantee rests on: pidfd, locks, /proc."""
    if refusal := unsupported():
        yield fails("system", refusal)
        return
    import fcntl

    yield ok("system", sys.platform)
    yield _pidfd()
    ofd = hasattr(fcntl, "F_OFD_SETLK")
    yield ok("locks", "open file description") if ofd else warning("locks", "flock")
    yield from _proc()


def _pidfd() -> Finding:
    if not hasattr(os, "pidfd_open"):
        return warning("pidfd", "not known here: a process is checked, then signalled")
    try:
        descriptor = os.pidfd_open(os.getpid())
        try:
            signal.pidfd_send_signal(descriptor, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        return warning(
            "pidfd", f"not allowed ({error.strerror}): a process is checked, then signalled"
        )
    return ok("pidfd", "yes")


def _proc() -> Iterator[Finding]:
    if not os.path.isdir("/proc/self/fdinfo"):
        yield fails("/proc", "missing: no process can be seen")
        return
    if os.readlink("/proc/self") != str(os.getpid()):
        yield fails("/proc", "is that of another PID namespace: processes bear other numbers there")
        return
    options = _mount_options("/proc")
    if hidden := hides(options, os.geteuid(), {*os.getgroups(), os.getegid()}):
        yield warning("/proc", f"{hidden}: other users' processes cannot be seen or judged")
    elif "subset=pid" in options:
        yield warning("/proc", "mounted with subset=pid: load, memory and boot time are unknown")
    else:
        yield ok("/proc", "readable")


def hides(options: list[str], uid: int, groups: set[int]) -> str | None:
    """The option of the mount of /proc that hides other users' processes from this account."""
    named = [one for one in options if one.startswith("hidepid=")]
    if not named or named[-1] in ("hidepid=0", "hidepid=off") or uid == 0:
        return None
    exempt = {int(one[4:]) for one in options if one.startswith("gid=") and one[4:].isdigit()}
    return None if groups & exempt else named[-1]


def _mount_options(mount: str) -> list[str]:
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = [line for line in lines if line.split()[4] == mount]
    words = found[-1].split() if found else []
    return [*words[5].split(","), *words[-1].split(",")] if words else []


# --- the disk and the clock -------------------------------------------------------------------


def disk(directory: Path) -> Iterator[Finding]:
    """Bytes and inodes that are free where the state is."""
    try:
        found = os.statvfs(directory)
    except OSError as error:
        yield fails("disk", f"{directory}: {error.strerror}")
        return
    root = os.geteuid() == 0
    left = (found.f_bfree if root else found.f_bavail) * found.f_frsize
    whole = found.f_blocks * found.f_frsize
    inodes = found.f_ffree if root else found.f_favail
    told = f"{size(left)} of {size(whole)} free"
    if found.f_flag & os.ST_RDONLY:
        yield fails("disk", f"{directory}: the file system is read-only")
    elif whole and left < 1_000_000:
        yield fails("disk", f"{directory}: full ({told})")
    elif found.f_files and not inodes:
        yield fails("disk", f"{directory}: no inode is free: no file can be made")
    elif (whole and scarce(left, whole)) or (found.f_files and inodes < FEW_INODES):
        yield warning("disk", f"{directory}: nearly full: {told}, {inodes} inodes")
    else:
        yield ok("disk", told + (f", {inodes} inodes" if found.f_files else ""))


def wall_clock(newest: float | None, daemon: int | None) -> Iterator[Finding]:
    """Whether the clock can be right, and whether the daemon's zone is ours.

    `newest`: the time of the newest look that is stored. `daemon`: the PID of the daemon.
    """
    now = time.time()
    told = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    if now < OLDEST:
        yield fails("clock", f"{told}: has never been set")
    elif newest is not None and newest - now > 60:
        yield warning("clock", f"{told}: {newest - now:.0f} s before the newest look in the store")
    else:
        yield ok("clock", told)
    zone = f"{time.strftime('%Z (%z)')}, TZ={os.environ.get('TZ', '')}"
    other = _zone_of(daemon) if daemon else None
    if other is not None and other != os.environ.get("TZ", ""):
        yield warning("zone", f"{zone}; the daemon's is TZ={other}: its logs show other times")
    else:
        yield ok("zone", zone)


def _zone_of(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read(1_000_000).split(b"\0")
    except OSError:
        return None
    found = [one[3:] for one in variables if one.startswith(b"TZ=")]
    return os.fsdecode(found[0]) if found else ""
