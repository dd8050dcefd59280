"""What the ledger says of a role's lives, and the lines that nobody else has written."""

from __future__ import annotations

import contextlib

from console.core.memory import OUTSIDE
from console.core.model import EventKind, Identity, Instance, Role
from console.core.record import Seen
from console.system import process
from console.system.box import Box
from console.system.store import StoreError


def living(box: Box, role: Role) -> dict[Identity, Instance]:
    """Who should still be alive: started or adopted, with no death on record."""
    found: dict[Identity, Instance] = {}
    with contextlib.suppress(StoreError):
        for event in box.store.events(role=role.name):
            if event.identity is None:
                continue
            if event.kind in (EventKind.STARTED, EventKind.ADOPTED):
                ghost = process.ghost(event.identity, event.moment)
                leased = event.kind is EventKind.STARTED
                found[event.identity] = Instance(role.name, (ghost,), leased, event.token)
            elif event.kind is EventKind.DIED:
                found.pop(event.identity, None)
    return found


def welcome(box: Box, role: Role, instance: Instance, seen: Seen) -> None:
    """Write a start or an adoption; who started it and said so is there already."""
    with contextlib.suppress(StoreError):
        if instance.token is not None:
            actor = seen.lease.owner.actor if seen.lease.owner else ""
            about = (instance.identity, instance.token)
            box.record(EventKind.STARTED, role.name, actor, "", *about)
            return
        box.record(
            EventKind.ADOPTED,
            role.name,
            OUTSIDE,
            f"found running, started by others {instance.uptime(box.now()):.0f}s ago",
            instance.identity,
            None,
            {"started_at": instance.root.started.at, "pids": list(instance.pids)},
        )


def certified(box: Box, role: Role, identity: Identity) -> bool:
    """Whether its shim has written how it died."""
    with contextlib.suppress(StoreError):
        events = box.store.events(role=role.name, limit=20)
        return any(one.kind is EventKind.DIED and one.identity == identity for one in events)
    return False


def bury(box: Box, role: Role, instance: Instance) -> None:
    """Write a death, unless it is known: without a shim its code and cause are not ours to know."""
    why = "its shim was killed too" if instance.leased else "not started by us"
    uptime = round(instance.uptime(box.now()), 1)
    with contextlib.suppress(StoreError):
        box.record(
            EventKind.DIED,
            role.name,
            OUTSIDE,
            f"gone; exit code unknown: {why}",
            instance.identity,
            instance.token,
            {"uptime_s": uptime, "exit_code": None, "signal": None},
        )
