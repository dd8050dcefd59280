"""Encodes role observations as plain JSON, for the worker monitor's samples, and decodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.core import secret_redaction
from console.core.model.processes import Identity, Instance, LookAlike, Process
from console.core.model.roles import Lease, LeaseState, Owner
from console.core.model.time import Moment
from console.core.records import Record, field

MAX_ARGV_CHARS = 2_000
ResourceUsage = tuple[float | None, int]
"""(CPU percent of one core since the last observation, or None; resident bytes)."""


class RoleObservation(Record, frozen=True):
    """One role, as observed."""

    instances: tuple[Instance, ...] = ()
    lease: Lease = Lease(LeaseState.FREE)
    usage: Mapping[int, ResourceUsage] = field(default_factory=dict)
    """Root PID -> usage of the whole tree."""
    look_alikes: tuple[LookAlike, ...] = ()
    """Processes that run the role's script and are not instances of it."""


def encode_observation(observation: RoleObservation) -> dict[str, Any]:
    """Return the observation as plain JSON values."""
    return {
        "instances": [
            _encode_instance(instance, observation.usage.get(instance.pid))
            for instance in observation.instances
        ],
        "lease": {
            "state": observation.lease.state.value,
            "owner": _encode_owner(observation.lease.owner),
            "holders": list(observation.lease.holders),
            "reason": observation.lease.reason,
        },
        "others": [_encode_look_alike(look_alike) for look_alike in observation.look_alikes],
    }


def _encode_look_alike(look_alike: LookAlike) -> dict[str, Any]:
    texts = {
        "user": look_alike.user,
        "why": look_alike.why,
        "command": look_alike.command,
        "box": look_alike.box,
    }
    encodable = {
        key: text.encode("utf-8", "backslashreplace").decode() for key, text in texts.items()
    }
    return {"identity": str(look_alike.identity), **encodable}


def _decode_look_alike(row: Mapping[str, Any]) -> LookAlike:
    identity = Identity.parse(row["identity"])
    return LookAlike(identity, row["user"], row["why"], row["command"], row["box"])


def _encode_instance(instance: Instance, usage: ResourceUsage | None) -> dict[str, Any]:
    return {
        "pid": instance.pid,
        "leased": instance.leased,
        "token": instance.token,
        "box": instance.box,
        "processes": [_encode_process(process) for process in instance.processes],
        "usage": list(usage) if usage else None,
    }


def _encode_process(process: Process) -> list[Any]:
    argv, chars_left = [], MAX_ARGV_CHARS
    for word in secret_redaction.redact_argv(process.argv):
        argv.append(word[:chars_left].encode("utf-8", "backslashreplace").decode())
        chars_left -= len(word)
        if chars_left <= 0:
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


def decode_observation(role: str, data: Mapping[str, Any]) -> RoleObservation:
    """Return the inverse of `encode_observation`.

    Raises KeyError, TypeError or ValueError on foreign data.
    """
    rows: Sequence[Mapping[str, Any]] = data["instances"]
    lease = data["lease"]
    return RoleObservation(
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
    processes = tuple(_decode_process(process_row) for process_row in row["processes"])
    return Instance(role, processes, row["leased"], row["token"], row.get("box"))


def _decode_process(row: Sequence[Any]) -> Process:
    identity, ppid, argv, started, *_, state = row  # older rows have the user before the state
    return Process(Identity.parse(identity), ppid, tuple(argv), Moment(*started), state)


def _decode_owner(row: Mapping[str, Any] | None) -> Owner | None:
    if row is None:
        return None
    shim = Identity.parse(row["shim"]) if row["shim"] else None
    identity = Identity.parse(row["identity"])
    return Owner(identity, row["token"], Moment(*row["since"]), shim, row["actor"])
