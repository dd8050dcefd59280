"""Hand a worker, its lease and its token to a shim, and hear how the start went."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import select
import sys
from collections.abc import Iterator

from console.core import resource_limits
from console.core.frozen import frozen, replace
from console.core.model import Identity, Role
from console.core.processes.instances import BOX_VARIABLE, LEASE_FD_VARIABLE, MARKS
from console.core.text.command_hint import step
from console.system import clock
from console.system.accounts import user_id
from console.system.box import Box, slot_name
from console.system.files import hanging_storage
from console.system.files.hanging_storage import NoAnswer
from console.system.host import package_files
from console.system.processes import port_owners, worker_registry

LOG_BYTES = 1_000_000
_SLACK_S = 10.0
_FAILED_S = 1.0
AGAIN = 75
"""The shim's exit code when it cannot fork: EX_TEMPFAIL of sysexits.h."""


@frozen
class Report:
    """How a start went. Neither settled nor failed: the shim was slow or killed, look again."""

    identity: Identity | None = None
    settled: bool = False
    failed: bool = False
    killed: bool = False
    """It failed because somebody ended the worker: to try again is not in vain."""
    reason: str = ""


def launch(
    box: Box, role: Role, slot: int, locks: tuple[int, int], token: int, actor: str
) -> Report:
    """Start a shim that inherits the locks; wait until its worker has settled, or not.

    `locks`: the descriptors of the life lock and of the start lock; -1 where there is none.
    """
    import subprocess  # an ensure that finds its worker needs none

    spec_read, spec_write = os.pipe()
    status_read, status_write = os.pipe()
    try:
        shim = subprocess.Popen(
            [
                package_files.interpreter(), "-I", "-S", *_utf8(),
                package_files.shim(box.paths), role.name,
                str(spec_read), str(status_write), *map(str, locks),
            ],
            cwd="/",
            env={**_unmarked(), BOX_VARIABLE: box.name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(spec_read, status_write, *(one for one in locks if one >= 0)),
            start_new_session=True,
        )  # fmt: skip
        os.close(status_write)
        status_write = -1
        with os.fdopen(spec_write, "wb") as pipe:
            spec_write = -1
            pipe.write(marshal.dumps(_spec(box, role, slot, token, actor)))
        if code := shim.wait():  # it has forked, and lives on as a child of init
            said = "no more processes can be started" if code == AGAIN else f"exit code {code}"
            return Report(failed=True, reason=f"the shim cannot be started: {said}")
        return _hear(status_read, role.settle_s + _SLACK_S)
    except OSError as error:
        reason = resource_limits.reached(error) or error.strerror or str(error)
        return Report(failed=True, reason=f"the shim cannot be started: {reason}")
    finally:
        for descriptor in (spec_read, spec_write, status_read, status_write):
            if descriptor >= 0:
                os.close(descriptor)


def _utf8() -> tuple[str, ...]:
    """The mode in which this process speaks to the kernel, for another interpreter."""
    return ("-X", "utf8") if sys.flags.utf8_mode else ()


def _unmarked() -> dict[str, str]:
    """Our environment without the marks: a caller that is leased itself must not pass them on."""
    foreign = (*MARKS, LEASE_FD_VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    return {key: value for key, value in os.environ.items() if key not in foreign}


def _spec(box: Box, role: Role, slot: int, token: int, actor: str) -> dict[str, object]:
    name = slot_name(role, slot)
    marks = dict(zip(MARKS, (box.name, role.name, str(token)), strict=True))
    place, account = worker_registry.directory(), _account(role)
    others = [(one.match, one.match_args) for one in box.roles if one.name != role.name]
    return {
        "role": role.name,
        "command": [os.path.expanduser(word) for word in role.command],
        "cwd": role.cwd,
        "env": {**_login(role), **role.env, **marks},
        "account": account,
        "record": str(place) if place is not None else "",
        "records": [str(one) for one in worker_registry.places(account[0])] if account else [],
        "entry": json.dumps(worker_registry.entry(role, box.name, token))[1:],
        "machine": role.scope == "machine",
        "others": others,
        "port": _spared_port(box, role),
        "marks": marks,
        "token": token,
        "actor": actor,
        "actor_json": json.dumps(actor),
        "boot": clock.boot_id(),
        "lock": str(box.paths.lease(name)),
        "owner": str(box.paths.owner(name)),
        "store": str(box.paths.store),
        "certificates": str(box.paths.certificates),
        "redact": list(box.settings.screen.redact),
        "logs": {stream: str(box.paths.log(name, stream)) for stream in ("out", "err")},
        "log_bytes": LOG_BYTES,
        "settle_s": role.settle_s,
        "grace_s": role.grace_s,
        "path": [entry for entry in sys.path if entry],
    }


def _spared_port(box: Box, role: Role) -> int | None:
    """The queue's port, whose holder the shim does not end; None for the queue itself."""
    return (
        None if role.name == port_owners.QUEUE else port_owners.local_port(box.settings.queue.url)
    )


def _account(role: Role) -> tuple[int, int, list[int]] | None:
    """(user, group, all groups) to start the worker as; None: as ourselves."""
    if role.user is None or (user := user_id(role)) == os.geteuid():
        return None
    import pwd

    group = pwd.getpwuid(user).pw_gid
    return user, group, os.getgrouplist(role.user, group)


def _login(role: Role) -> dict[str, str]:
    """The variables that name the user, for a worker of another user."""
    if _account(role) is None or role.user is None:
        return {}
    import pwd

    home = pwd.getpwnam(role.user).pw_dir
    return {"HOME": home, "USER": role.user, "LOGNAME": role.user}


def foreign_user(role: Role) -> str | None:
    """Why the role's worker cannot be started as its user, or None."""
    if role.user is None:
        return None
    user = user_id(role)
    if user < 0:
        return f"roles.{role.name}.user: there is no user {role.user!r} on this machine"
    if user != os.geteuid() and os.geteuid() != 0:
        way = f"run: sudo {step(f'ensure {role.name}')}"
        return f"only root can start a process of user {role.user!r}; {way}"
    return None


def hopeless(role: Role) -> str | None:
    """Why the role's command cannot be started, as far as that can be told without trying."""
    from shutil import which  # with every kind of archive in tow

    if reason := foreign_user(role) or unanswering(role):
        return reason
    if role.cwd is not None and not os.path.isdir(role.cwd):
        return f"{role.cwd}: the working directory does not exist"
    program = os.path.expanduser(role.command[0])
    place = os.path.join(role.cwd or "/", program) if os.sep in program else program
    if which(place, path=role.env.get("PATH")) is None:
        return f"{program}: is not there or cannot be executed"
    return None


def unanswering(role: Role) -> str | None:
    """Which directory of the role's command is on storage that does not answer; or None.

    A process that is started there would hang, and could not even be ended.
    """
    words = (os.path.expanduser(word) for word in role.command)
    named = [(os.path.dirname(word), os.path.dirname(word)) for word in words if word[:1] == "/"]
    for directory, name in [*([(role.cwd, f"cwd {role.cwd}")] if role.cwd else []), *named]:
        try:
            hanging_storage.call(directory, _entered, directory)
        except NoAnswer:
            return f"{name} does not answer"
    return None


def _entered(directory: str) -> None:
    """Have the storage answer: what the kernel remembers of a directory does not show it."""
    with contextlib.suppress(OSError):
        os.listdir(directory)


def _hear(descriptor: int, timeout: float) -> Report:
    """Follow the shim's report to its end."""
    report = Report(reason="the shim ended without a word")
    for line in _lines(descriptor, clock.tick() + timeout):
        word, _, rest = line.partition(" ")
        if word == "started":
            report = replace(report, identity=Identity.parse(rest))
        elif word == "settled":
            return replace(report, settled=True)
        elif word == "failed":
            for _ in _lines(descriptor, clock.tick() + _FAILED_S):
                pass  # until the shim has let go; a child that hangs keeps it from that
            return replace(report, failed=True, reason=rest)
        elif word in ("exited", "killed") or report.identity is None:
            report = replace(report, failed=True, killed=word == "killed", reason=rest)
    return report


def _lines(descriptor: int, deadline: float) -> Iterator[str]:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    waiting = b""
    while (left := deadline - clock.tick()) > 0:
        if not poll.poll(left * 1000):
            return
        chunk = os.read(descriptor, 65_536)
        if not chunk:
            return
        *lines, waiting = (waiting + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
