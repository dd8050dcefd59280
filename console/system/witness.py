"""What the ledger must know of every instance, whoever was killed before saying it.

A start or a death is written once: the store ignores the second to tell of it.
"""

from __future__ import annotations

import contextlib

from console.core.model import Event, EventKind, Identity, Instance, Moment, Owner, Role
from console.system import clock, proc, registry
from console.system.box import Box, Observation
from console.system.store import StoreError


def tell_starts(box: Box, role: Role, seen: Observation, actor: str) -> None:
    """Write the start or the adoption of each instance that is seen."""
    for instance in seen.instances:
        tell_start(box, role, instance, seen, actor)


def tell_start(box: Box, role: Role, instance: Instance, seen: Observation, actor: str) -> None:
    """Write how one instance came to be, unless another state directory runs it."""
    if instance.box is not None:
        return
    owners = (one.owner for one in seen.leases if one.owner is not None)
    owner = next((one for one in owners if one.identity == instance.identity), None)
    if owner is not None:
        _started(box, role, owner)
    elif instance.token is None:
        adopt(box, role, instance, actor)


def adopt(box: Box, role: Role, instance: Instance, actor: str) -> None:
    """Write that an instance was found running without a lease.

    A lost state directory takes the lease of its own workers with it. Their records still have the
    token: it is remembered, so that later ones are higher.
    """
    from console.system.launcher import launcher

    token = registry.own_token(role, box.name, instance.identity)
    started = instance.root.started
    ago = f"{clock.now().since(started):.0f}s ago"
    if token is None:
        registry.adopt(role, box.name, instance.identity)
        reason = f"found running, started by others {ago}"
    else:
        with contextlib.suppress(StoreError):
            box.store.keep_token(role.name, token)
        reason = f"found running, started {ago} by this state directory, which has lost its lease"
    box.tell(
        EventKind.ADOPTED,
        role.name,
        actor,
        reason,
        instance.identity,
        token,
        {
            "started_at": started.at,
            "pids": list(instance.pids),
            "launcher": launcher(instance.root),
        },
    )


def _started(box: Box, role: Role, owner: Owner) -> None:
    about = (owner.actor, "", owner.identity, owner.token)
    box.lines.keep(Event(EventKind.STARTED, owner.since, role.name, *about))


def bury(box: Box, role: Role, owner: Owner | None) -> None:
    """Write the death that no shim has certified. Only while holding its lease: no shim is left."""
    if owner is None or owner.shim is None or proc.alive(owner.identity):
        return
    with contextlib.suppress(StoreError):
        box.take_up_certificates()
    _started(box, role, owner)
    why = "found dead; its shim has left no certificate, so the cause is unknown"
    _died(box, role, owner.identity, owner.token, owner.since, why)


def tell_end(box: Box, role: Role, instance: Instance, how: str) -> None:
    """Write the death of an instance that we have ended, if no shim has."""
    why = f"ended on request, {how}"
    _died(box, role, instance.identity, instance.token, instance.root.started, why)


def _died(
    box: Box, role: Role, identity: Identity, token: int | None, since: Moment, why: str
) -> None:
    from console.system import reboot  # there is nothing to bury, as a rule

    why, data = reboot.end(identity, since, why)
    box.tell(EventKind.DIED, role.name, "guard", why, identity, token, data)
