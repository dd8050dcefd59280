"""Launches a shim with a worker's command, lease and token, and reads its report of the start."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import sys
from collections.abc import Iterator

from console.core import resource_limits
from console.core.model.processes import Identity
from console.core.model.roles import Role
from console.core.processes.instances import BOX_VARIABLE, ENV_MARKERS, LEASE_FD_VARIABLE
from console.core.records import Record, replace
from console.core.text.command_hint import format_command
from console.system import clock
from console.system.accounts import role_user_id
from console.system.box import Box, slot_name
from console.system.files import hanging_storage
from console.system.files.hanging_storage import StorageTimeoutError
from console.system.host import package_files
from console.system.processes import port_owners, worker_registry

MAX_LOG_BYTES = 1_000_000
_REPORT_TIMEOUT_MARGIN_S = 10.0
_SHIM_EXIT_TIMEOUT_S = 1.0
EX_TEMPFAIL = 75
"""The shim's exit code when it cannot fork: EX_TEMPFAIL of sysexits.h."""


class StartResult(Record, frozen=True):
    """The result of a start.

    If it is neither `settled` nor `failed`, the shim was slow or killed, and the caller must
    observe the role again.
    """

    identity: Identity | None = None
    settled: bool = False
    failed: bool = False
    killed: bool = False
    """The start failed because a signal ended the worker or its shim; a retry may succeed."""

    reason: str = ""


def launch_shim(
    box: Box, role: Role, slot: int, locks: tuple[int, int], token: int, actor: str
) -> StartResult:
    """Start a shim that inherits the locks; wait until its worker has settled or failed.

    `locks`: the descriptors of the life lock and of the start lock, or -1 for a missing lock.
    """
    import subprocess  # not needed if the worker is already running

    spec_read, spec_write = os.pipe()
    status_read, status_write = os.pipe()
    try:
        shim = subprocess.Popen(
            [
                package_files.find_interpreter(), "-I", "-S", *_utf8_options(),
                package_files.shim_program(box.paths), role.name,
                str(spec_read), str(status_write), *map(str, locks),
            ],
            cwd="/",
            env={**_env_without_markers(), BOX_VARIABLE: box.name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(spec_read, status_write, *(lock_fd for lock_fd in locks if lock_fd >= 0)),
            start_new_session=True,
        )  # fmt: skip
        os.close(status_write)
        status_write = -1
        with os.fdopen(spec_write, "wb") as pipe:
            spec_write = -1
            pipe.write(marshal.dumps(_build_spec(box, role, slot, token, actor)))
        if code := shim.wait():  # the shim forks, and runs on as a child of init
            reason = f"the shim cannot be started: {_describe_shim_exit(code)}"
            return StartResult(failed=True, killed=code < 0, reason=reason)
        return _read_shim_report(status_read, role.settle_s + _REPORT_TIMEOUT_MARGIN_S)
    except OSError as error:
        reason = resource_limits.limit_message(error) or error.strerror or str(error)
        return StartResult(failed=True, reason=f"the shim cannot be started: {reason}")
    finally:
        for descriptor in (spec_read, spec_write, status_read, status_write):
            if descriptor >= 0:
                os.close(descriptor)


def _describe_shim_exit(code: int) -> str:
    """Return why a shim ended before its fork. A negative code is the number of a signal."""
    if code == EX_TEMPFAIL:
        return "no more processes can be started"
    if code >= 0:
        return f"exit code {code}"
    import signal  # rarely needed

    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal without a name
        return f"ended by signal {-code}"


def _utf8_options() -> tuple[str, ...]:
    """Return the interpreter options that select this process's UTF-8 mode."""
    return ("-X", "utf8") if sys.flags.utf8_mode else ()


def _env_without_markers() -> dict[str, str]:
    """Return this process's environment without the markers.

    A caller that is a leased worker itself must not pass its own markers on.
    """
    excluded = (*ENV_MARKERS, LEASE_FD_VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    return {key: value for key, value in os.environ.items() if key not in excluded}


def _build_spec(box: Box, role: Role, slot: int, token: int, actor: str) -> dict[str, object]:
    lease_name = slot_name(role, slot)
    markers = dict(zip(ENV_MARKERS, (box.name, role.name, str(token)), strict=True))
    records_dir, account = worker_registry.directory(), _account(role)
    others = [(one.match, one.match_args) for one in box.roles if one.name != role.name]
    return {
        "role": role.name,
        "command": [os.path.expanduser(word) for word in role.command],
        "cwd": role.cwd,
        "env": {**_login_env(role), **role.env, **markers},
        "account": account,
        "record": str(records_dir) if records_dir is not None else "",
        "records": [str(one) for one in worker_registry.candidate_directories(account[0])]
        if account
        else [],
        "entry": json.dumps(worker_registry.record_content(role, box.name, token))[1:],
        "machine": role.scope == "machine",
        "others": others,
        "port": _protected_port(box, role),
        "marks": markers,
        "token": token,
        "actor": actor,
        "actor_json": json.dumps(actor),
        "boot": clock.boot_id(),
        "lock": str(box.paths.lease(lease_name)),
        "owner": str(box.paths.owner(lease_name)),
        "store": str(box.paths.store),
        "certificates": str(box.paths.certificates),
        "redact": list(box.settings.screen.redact),
        "logs": {stream: str(box.paths.log(lease_name, stream)) for stream in ("out", "err")},
        "log_bytes": MAX_LOG_BYTES,
        "settle_s": role.settle_s,
        "grace_s": role.grace_s,
        "path": [entry for entry in sys.path if entry],
    }


def _protected_port(box: Box, role: Role) -> int | None:
    """Return the queue's port, whose holder the shim does not end; None for the queue role."""
    return (
        None
        if role.name == port_owners.QUEUE_ROLE
        else port_owners.loopback_port(box.settings.queue.url)
    )


def _account(role: Role) -> tuple[int, int, list[int]] | None:
    """Return the (user id, group id, all group ids) to start the worker as.

    Return None if the worker runs as this process's own user.
    """
    if role.user is None or (user := role_user_id(role)) == os.geteuid():
        return None
    import pwd

    group = pwd.getpwuid(user).pw_gid
    return user, group, os.getgrouplist(role.user, group)


def _login_env(role: Role) -> dict[str, str]:
    """Return the variables that name the user, for another user's worker; otherwise empty."""
    if _account(role) is None or role.user is None:
        return {}
    import pwd

    home = pwd.getpwnam(role.user).pw_dir
    return {"HOME": home, "USER": role.user, "LOGNAME": role.user}


def account_error(role: Role) -> str | None:
    """Return why the role's worker cannot be started as its user, or None."""
    if role.user is None:
        return None
    user = role_user_id(role)
    if user < 0:
        return f"roles.{role.name}.user: there is no user {role.user!r} on this machine"
    if user != os.geteuid() and os.geteuid() != 0:
        way = f"run: sudo {format_command(f'ensure {role.name}')}"
        return f"only root can start a process of user {role.user!r}; {way}"
    return None


def preflight_error(role: Role) -> str | None:
    """Return why the role's command cannot be started, or None if checks find no reason."""
    from shutil import which  # shutil imports all archive modules

    if reason := account_error(role) or hanging_directory_error(role):
        return reason
    if role.cwd is not None and not os.path.isdir(role.cwd):
        return f"{role.cwd}: the working directory does not exist"
    program = os.path.expanduser(role.command[0])
    path = os.path.join(role.cwd or "/", program) if os.sep in program else program
    if which(path, path=role.env.get("PATH")) is None:
        return f"{program}: is not there or cannot be executed"
    return None


def hanging_directory_error(role: Role) -> str | None:
    """Return which directory of the role's command is on storage that does not answer, or None.

    A process that is started there would hang, and a signal could not end it.
    """
    words = (os.path.expanduser(word) for word in role.command)
    directories = [
        (os.path.dirname(word), os.path.dirname(word)) for word in words if word[:1] == "/"
    ]
    for directory, name in [*([(role.cwd, f"cwd {role.cwd}")] if role.cwd else []), *directories]:
        try:
            hanging_storage.call(directory, _list_directory, directory)
        except StorageTimeoutError:
            return f"{name} does not answer"
    return None


def _list_directory(directory: str) -> None:
    """List a directory, which makes the storage answer; cached metadata would not show a hang."""
    with contextlib.suppress(OSError):
        os.listdir(directory)


def _read_shim_report(descriptor: int, timeout_s: float) -> StartResult:
    """Read the shim's report to its end and return the result."""
    result = StartResult(reason="the shim ended without a word")
    for line in _read_lines(descriptor, clock.tick() + timeout_s):
        word, _, detail = line.partition(" ")
        if word == "started":
            result = replace(result, identity=Identity.parse(detail))
        elif word == "settled":
            return replace(result, settled=True)
        elif word == "failed":
            for _ in _read_lines(descriptor, clock.tick() + _SHIM_EXIT_TIMEOUT_S):
                pass  # wait until the shim exits; a hanging child prevents that
            return replace(result, failed=True, reason=detail)
        elif word in ("exited", "killed") or result.identity is None:
            result = replace(result, failed=True, killed=word == "killed", reason=detail)
    return result


def _read_lines(descriptor: int, deadline: float) -> Iterator[str]:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    buffer = b""
    while (remaining_s := deadline - clock.tick()) > 0:
        if not poll.poll(remaining_s * 1000):
            return
        chunk = os.read(descriptor, 65_536)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
