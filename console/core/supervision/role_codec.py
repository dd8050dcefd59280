"""Roles as they were seen, to plain JSON and back: what the worker monitor's samples hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from console.core import secret_redaction
from console.core.frozen import frozen
from console.core.model import (
    Identity,
    Instance,
    Lease,
    LeaseState,
    LookAlike,
    Moment,
    Owner,
    Process,
)

ARGV_LIMIT = 2_000
Usage = tuple[float | None, int]
"""(CPU percent of one core since the last look, or None; resident bytes)."""


@frozen
class Seen:
    """One role as it was seen."""

    instances: tuple[Instance, ...] = ()
    lease: Lease = Lease(LeaseState.FREE)
    usage: Mapping[int, Usage] = field(default_factory=dict)
    """Root PID -> usage of its whole tree."""
    others: tuple[LookAlike, ...] = ()
    """Processes that run the role's script and do not count."""


def encode(seen: Seen) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "instances": [_encode_instance(one, seen.usage.get(one.pid)) for one in seen.instances],
        "lease": {
            "state": seen.lease.state.value,
            "owner": _encode_owner(seen.lease.owner),
            "holders": list(seen.lease.holders),
            "reason": seen.lease.reason,
        },
        "others": [_encode_look_alike(one) for one in seen.others],
    }


def _encode_look_alike(one: LookAlike) -> dict[str, Any]:
    words = {"user": one.user, "why": one.why, "command": one.command, "box": one.box}
    clean = {key: text.encode("utf-8", "backslashreplace").decode() for key, text in words.items()}
    return {"identity": str(one.identity), **clean}


def _decode_look_alike(row: Mapping[str, Any]) -> LookAlike:
    identity = Identity.parse(row["identity"])
    return LookAlike(identity, row["user"], row["why"], row["command"], row["box"])


def _encode_instance(instance: Instance, usage: Usage | None) -> dict[str, Any]:
    return {
        "pid": instance.pid,
        "leased": instance.leased,
        "token": instance.token,
        "box": instance.box,
        "processes": [_encode_process(one) for one in instance.processes],
        "usage": list(usage) if usage else None,
    }


def _encode_process(process: Process) -> list[Any]:
    argv, left = [], ARGV_LIMIT
    for word in secret_redaction.words(process.argv):
        argv.append(word[:left].encode("utf-8", "backslashreplace").decode())
        left -= len(word)
        if left <= 0:
            break
    started = process.started
    return [
        str(process.identity), process.ppid, argv, [started.at, started.tick, started.boot],
        process.state,
    ]  # fmt: skip


def _encode_owner(owner: Owner | None) -> dict[str, Any] | None:
    if owner is None:
        return None
    return {
        "identity": str(owner.identity),
        "token": owner.token,
        "since": [owner.since.at, owner.since.tick, owner.since.boot],
        "shim": str(owner.shim) if owner.shim else None,
        "actor": owner.actor,
    }


def decode(role: str, data: Mapping[str, Any]) -> Seen:
    """The inverse of `encode`. Raises KeyError, TypeError or ValueError on foreign data."""
    rows: Sequence[Mapping[str, Any]] = data["instances"]
    lease = data["lease"]
    return Seen(
        tuple(_decode_instance(role, row) for row in rows),
        Lease(
            LeaseState(lease["state"]),
            _decode_owner(lease["owner"]),
            tuple(lease["holders"]),
            lease["reason"],
        ),
        {row["pid"]: (row["usage"][0], row["usage"][1]) for row in rows if row["usage"]},
        tuple(_decode_look_alike(row) for row in data.get("others", ())),
    )


def _decode_instance(role: str, row: Mapping[str, Any]) -> Instance:
    processes = tuple(_decode_process(one) for one in row["processes"])
    return Instance(role, processes, row["leased"], row["token"], row.get("box"))


def _decode_process(row: Sequence[Any]) -> Process:
    identity, ppid, argv, started, *_, state = row  # older ones have the user before the state
    return Process(Identity.parse(identity), ppid, tuple(argv), Moment(*started), state)


def _decode_owner(row: Mapping[str, Any] | None) -> Owner | None:
    if row is None:
        return None
    shim = Identity.parse(row["shim"]) if row["shim"] else None
    identity = Identity.parse(row["identity"])
    return Owner(identity, row["token"], Moment(*row["since"]), shim, row["actor"])
