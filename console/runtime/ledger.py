"""What the ledger says of a role's lives, and the lines that nobody else has written."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from console.core.frozen import slotted
from console.core.memory import OUTSIDE
from console.core.model import EventKind, Identity, Instance, Role
from console.core.record import Seen
from console.system import lease, proc, process, reboot, witness
from console.system.box import Box
from console.system.store import StoreError

_BORN = (EventKind.STARTED, EventKind.ADOPTED)


def living(box: Box, role: Role) -> dict[Identity, Instance]:
    """Who should still be alive: started or adopted, with no death on record."""
    found: dict[Identity, Instance] = {}
    with contextlib.suppress(StoreError):
        told = box.store.events(role=role.name, kinds=(*_BORN, EventKind.DIED))
        for event in (*told, *box.lines.waiting(role.name)):
            if event.identity is None:
                continue
            who = lease.here(event.identity, event.moment)
            if event.kind in _BORN:
                ghost = process.ghost(who, event.moment)
                leased = event.kind is EventKind.STARTED
                found[who] = Instance(role.name, (ghost,), leased, event.token)
            elif event.kind is EventKind.DIED:
                found.pop(who, None)
    return found


def ghosts(box: Box, role: Role) -> dict[Identity, Instance]:
    """Who is dead, and nobody has said so: a command saw them alive, and we never did."""
    return {who: one for who, one in living(box, role).items() if not proc.alive(who)}


@slotted
class Hearsay:
    """The starts and adoptions that other commands have written."""

    _heard: int | None = None
    """The last line of the ledger that we have listened to."""

    def anything(self, newest: int) -> bool:
        """Whether we have not listened to the ledger as far as this line."""
        return newest != self._heard

    def of_the_dead(self, box: Box, known: Collection[Identity], newest: int) -> bool:
        """Whether there is news of somebody whom we do not know, and who is dead already."""
        after, self._heard = self._heard, newest
        with contextlib.suppress(StoreError):
            if after is not None:
                lines = box.store.events(after, kinds=_BORN)
                strangers = (e.identity for e in lines if e.identity and e.identity not in known)
                return any(not proc.alive(who) for who in strangers)
        return False


def welcome(box: Box, role: Role, instance: Instance, seen: Seen) -> None:
    """Write a start or an adoption; who started it and said so is there already."""
    if instance.token is not None:
        actor = seen.lease.owner.actor if seen.lease.owner else ""
        box.tell(EventKind.STARTED, role.name, actor, "", instance.identity, instance.token)
        return
    witness.adopt(box, role, instance, OUTSIDE)


def has_shim(box: Box, role: Role, instance: Instance) -> bool:
    """Whether a shim of ours certifies its death: under its lease, or one that was lost."""
    if instance.leased:
        return True
    with contextlib.suppress(StoreError):
        told = box.store.events(role=role.name, kinds=(EventKind.ADOPTED,))
        return any(e.identity == instance.identity and e.token is not None for e in told)
    return False


def certified(box: Box, role: Role, identity: Identity) -> bool:
    """Whether its shim has written how it died."""
    with contextlib.suppress(StoreError):
        box.take_up_certificates()
        events = box.store.events(role=role.name, limit=20)
        return any(one.kind is EventKind.DIED and one.identity == identity for one in events)
    return False


def _requested(box: Box, role: Role, identity: Identity) -> str | None:
    """That a command has asked for this end, by whom, if one has."""
    with contextlib.suppress(StoreError):
        told = box.store.events(role=role.name, kinds=(EventKind.ASKED,))
        for event in reversed([*told, *box.lines.waiting(role.name)]):
            if event.kind is EventKind.ASKED and event.identity == identity:
                verb = event.data.get("verb", "end")
                return f"ended on request ({verb} by {event.actor}); exit code unknown"
    return None


def bury(box: Box, role: Role, instance: Instance) -> None:
    """Write a death, unless it is known: without a shim its code and cause are not ours to know."""
    ours = has_shim(box, role, instance)
    unknown = "its shim has left no certificate" if ours else "not started by us"
    why = _requested(box, role, instance.identity) or f"exit code unknown ({unknown})"
    why, data = reboot.end(instance.identity, instance.root.started, why)
    about = (instance.identity, instance.token, data)
    box.tell(EventKind.DIED, role.name, OUTSIDE, why, *about)
