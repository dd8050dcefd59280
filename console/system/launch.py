"""Hand a worker, its lease and its token to a shim, and hear how the start went."""

from __future__ import annotations

import marshal
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from console.core.instances import BOX_VARIABLE, TOKEN_VARIABLE
from console.core.model import Identity, Role
from console.system import clock
from console.system.box import Box, slot_name
from console.system.lease import SHIM

LOG_BYTES = 1_000_000
_SLACK_S = 10.0


@dataclass(frozen=True, slots=True)
class Report:
    """How a start went."""

    identity: Identity | None = None
    settled: bool = False
    reason: str = ""


def launch(box: Box, role: Role, slot: int, lease: int, token: int, actor: str) -> Report:
    """Start a shim that inherits the lock `lease`; wait until its worker has settled, or not."""
    spec_read, spec_write = os.pipe()
    status_read, status_write = os.pipe()
    try:
        shim = subprocess.Popen(
            [
                sys.executable, "-I", "-S", str(SHIM), role.name,
                str(spec_read), str(status_write), str(lease),
            ],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(spec_read, status_write, lease),
            start_new_session=True,
        )  # fmt: skip
        os.close(status_write)
        status_write = -1
        with os.fdopen(spec_write, "wb") as pipe:
            spec_write = -1
            pipe.write(marshal.dumps(_spec(box, role, slot, token, actor)))
        # It outlives us: nobody waits for it, and Popen must not complain about that.
        shim.returncode = 0
        return _hear(status_read, role.settle_s + _SLACK_S)
    except OSError as error:
        return Report(reason=f"the shim cannot be started: {error.strerror or error}")
    finally:
        for descriptor in (spec_read, spec_write, status_read, status_write):
            if descriptor >= 0:
                os.close(descriptor)


def _spec(box: Box, role: Role, slot: int, token: int, actor: str) -> dict[str, object]:
    name = slot_name(role, slot)
    return {
        "role": role.name,
        "command": [os.path.expanduser(word) for word in role.command],
        "cwd": role.cwd,
        "env": {**role.env, BOX_VARIABLE: box.name, TOKEN_VARIABLE: str(token)},
        "token": token,
        "actor": actor,
        "boot": clock.boot_id(),
        "owner": str(box.paths.owner(name)),
        "store": str(box.paths.store),
        "logs": {stream: str(box.paths.log(name, stream)) for stream in ("out", "err")},
        "log_bytes": LOG_BYTES,
        "settle_s": role.settle_s,
        "grace_s": role.grace_s,
        "path": [entry for entry in sys.path if entry],
    }


def _hear(descriptor: int, timeout: float) -> Report:
    """Follow the shim's report to its end."""
    identity, reason = None, "the shim ended without a word"
    for line in _lines(descriptor, clock.tick() + timeout):
        word, _, rest = line.partition(" ")
        if word == "started":
            identity = Identity.parse(rest)
        elif word == "settled":
            return Report(identity, settled=True)
        elif word in ("exited", "failed"):
            reason = rest
    return Report(identity, reason=reason)


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
