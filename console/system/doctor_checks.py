"""Checks of the machine and the settings for `doctor`. Each reads kernel and file system once.

Each check yields findings. No check changes anything. A check may be slow or hang: the caller runs
it in a thread with a deadline.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from console.core.model.roles import Role
from console.core.records import Record
from console.core.text.formatting import format_size
from console.system.config.schema import Settings
from console.system.files import hanging_storage
from console.system.files.outside_files import unsafe_directory_reason
from console.system.files.safe_files import FileError
from console.system.host.resource_pressure import is_low
from console.system.processes.procfs import platform_error

EARLIEST_PLAUSIBLE_TIME = 1_735_689_600.0
"""2025-01-01. A clock with an earlier time has never been set."""
LOW_FREE_INODES = 1000


class CheckState(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILS = "fails"


class Finding(Record, frozen=True):
    """The result of one check, with a description."""

    check: str
    state: CheckState
    seen: str


def ok(check: str, seen: str) -> Finding:
    return Finding(check, CheckState.OK, seen)


def warning(check: str, seen: str) -> Finding:
    return Finding(check, CheckState.WARNING, seen)


def fails(check: str, seen: str) -> Finding:
    return Finding(check, CheckState.FAILS, seen)


# --- the settings -----------------------------------------------------------------------------


def check_settings(settings: Settings, outputs: Path | None = None) -> Iterator[Finding]:
    """Check that paths and programs in the settings exist, and yield the settings' warnings.

    `outputs`: the directory to check if the settings name none.
    """
    from console.system.config.advice import settings_warnings

    for role in settings.all_roles():
        yield from _check_role(role)
    configured = settings.outputs and Path(os.path.expanduser(settings.outputs))
    if directory := configured or outputs:
        yield from _check_outputs(directory)
    if settings.alerts.hook and (
        problem := _missing_program_reason(settings.alerts.hook[0], "/", {})
    ):
        yield fails("alerts.hook", problem)
    for message in settings_warnings(settings):
        key, _, reason = message.partition(": ")
        yield warning(key, reason)


def _check_role(role: Role) -> Iterator[Finding]:
    key = f"roles.{role.name}"
    if not role.command:
        return
    try:
        if role.cwd is not None and not _is_directory(role.cwd):
            yield fails(f"{key}.cwd", f"{role.cwd}: is no directory")
            return
        if reason := _missing_program_reason(role.command[0], role.cwd or "/", role.env):
            yield fails(f"{key}.command", reason)
            return
        for script in _script_paths(role):
            if not hanging_storage.call(os.path.dirname(script), os.path.exists, script):
                yield fails(f"{key}.command", f"{script}: does not exist")
                return
    except FileError as error:
        yield fails(key, str(error))
        return
    yield ok(key, f"{role.command[0]} is there" + (f", {role.cwd} too" if role.cwd else ""))


def _is_directory(path: str) -> bool:
    return bool(hanging_storage.call(path, os.path.isdir, path))


def _missing_program_reason(word: str, cwd: str, env: dict[str, str] | object) -> str | None:
    """Return the reason why a program cannot be executed; None if it can. Raises FileError."""
    from shutil import which

    program = os.path.expanduser(word)
    path = env.get("PATH") if isinstance(env, dict) else None
    if os.sep not in program:
        executable = which(program, path=path)
    else:
        full_path = os.path.join(cwd, program)
        executable = (
            full_path
            if hanging_storage.call(os.path.dirname(full_path), _is_executable, full_path)
            else None
        )
    return None if executable else f"{program}: is not there or cannot be executed"


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _script_paths(role: Role) -> Iterator[str]:
    """Yield the paths in the command whose base name is that of `match`."""
    base = role.match.split()[0].rpartition("/")[2] if role.match else ""
    for word in role.command[1:]:
        path = os.path.expanduser(word)
        if base and path.rpartition("/")[2] == base:
            yield os.path.join(role.cwd or "/", path)


def _check_outputs(place: Path) -> Iterator[Finding]:
    path = str(place)
    try:
        exists = hanging_storage.call(path, os.path.lexists, path)
        if exists and not _is_directory(path):
            yield fails("outputs", f"{path}: is no directory")
            return
        if exists and not hanging_storage.call(path, os.access, path, os.R_OK | os.X_OK):
            yield fails("outputs", f"{path}: cannot be read")
            return
    except FileError as error:
        yield fails("outputs", str(error))
        return
    if reason := unsafe_directory_reason(place):
        yield (fails if "nothing is written" in reason else warning)("outputs", reason)
    elif not exists:
        yield warning("outputs", f"{path}: does not exist yet")
    else:
        yield ok("outputs", path)


# --- the kernel -------------------------------------------------------------------------------


def check_kernel() -> Iterator[Finding]:
    """Check the kernel features on which the guarantees depend: pidfd, locks, /proc."""
    if refusal := platform_error():
        yield fails("system", refusal)
        return
    import fcntl

    yield ok("system", sys.platform)
    yield _check_pidfd()
    has_ofd_locks = hasattr(fcntl, "F_OFD_SETLK")
    yield ok("locks", "open file description") if has_ofd_locks else warning("locks", "flock")
    yield from _check_proc()


def _check_pidfd() -> Finding:
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


def _check_proc() -> Iterator[Finding]:
    if not os.path.isdir("/proc/self/fdinfo"):
        yield fails("/proc", "missing: no process can be seen")
        return
    if os.readlink("/proc/self") != str(os.getpid()):
        yield fails("/proc", "is that of another PID namespace: processes bear other numbers there")
        return
    options = _mount_options("/proc")
    if hidden := hidepid_option(options, os.geteuid(), {*os.getgroups(), os.getegid()}):
        yield warning("/proc", f"{hidden}: other users' processes cannot be seen or judged")
    elif "subset=pid" in options:
        yield warning("/proc", "mounted with subset=pid: load, memory and boot time are unknown")
    else:
        yield ok("/proc", "readable")


def hidepid_option(options: list[str], uid: int, groups: set[int]) -> str | None:
    """Return the mount option of /proc that hides other users' processes from this account.

    Return None if they are visible.
    """
    hidepid = [option for option in options if option.startswith("hidepid=")]
    if not hidepid or hidepid[-1] in ("hidepid=0", "hidepid=off") or uid == 0:
        return None
    exempt = {
        int(option[4:]) for option in options if option.startswith("gid=") and option[4:].isdigit()
    }
    return None if groups & exempt else hidepid[-1]


def _mount_options(mount: str) -> list[str]:
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    mount_lines = [line for line in lines if line.split()[4] == mount]
    fields = mount_lines[-1].split() if mount_lines else []
    return [*fields[5].split(","), *fields[-1].split(",")] if fields else []


# --- the disk and the clock -------------------------------------------------------------------


def check_disk(directory: Path) -> Iterator[Finding]:
    """Check the free bytes and inodes of the file system of the state directory."""
    try:
        status = os.statvfs(directory)
    except OSError as error:
        yield fails("disk", f"{directory}: {error.strerror}")
        return
    root = os.geteuid() == 0
    free = (status.f_bfree if root else status.f_bavail) * status.f_frsize
    total = status.f_blocks * status.f_frsize
    inodes = status.f_ffree if root else status.f_favail
    text = f"{format_size(free)} of {format_size(total)} free"
    if status.f_flag & os.ST_RDONLY:
        yield fails("disk", f"{directory}: the file system is read-only")
    elif total and free < 1_000_000:
        yield fails("disk", f"{directory}: full ({text})")
    elif status.f_files and not inodes:
        yield fails("disk", f"{directory}: no inode is free: no file can be made")
    elif (total and is_low(free, total)) or (status.f_files and inodes < LOW_FREE_INODES):
        yield warning("disk", f"{directory}: nearly full: {text}, {inodes} inodes")
    else:
        yield ok("disk", text + (f", {inodes} inodes" if status.f_files else ""))


def check_wall_clock(last_sample_at: float | None, daemon_pid: int | None) -> Iterator[Finding]:
    """Check that the wall clock is plausible, and that the daemon has our time zone.

    `last_sample_at`: the time of the newest sample in the store. `daemon_pid`: the daemon's PID.
    """
    now = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    if now < EARLIEST_PLAUSIBLE_TIME:
        yield fails("clock", f"{text}: has never been set")
    elif last_sample_at is not None and last_sample_at - now > 60:
        yield warning(
            "clock", f"{text}: {last_sample_at - now:.0f} s before the newest look in the store"
        )
    else:
        yield ok("clock", text)
    zone = f"{time.strftime('%Z (%z)')}, TZ={os.environ.get('TZ', '')}"
    other = _timezone_of(daemon_pid) if daemon_pid else None
    if other is not None and other != os.environ.get("TZ", ""):
        yield warning("zone", f"{zone}; the daemon's is TZ={other}: its logs show other times")
    else:
        yield ok("zone", zone)


def _timezone_of(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read(1_000_000).split(b"\0")
    except OSError:
        return None
    zones = [variable[3:] for variable in variables if variable.startswith(b"TZ=")]
    return os.fsdecode(zones[0]) if zones else ""
