"""Which instance a lease belongs to."""

from __future__ import annotations

from console.core.frozen import replace
from console.core.instances import Kinship
from console.core.model import Instance, Lease, LeaseState, Owner, Process, Role


def attribute(
    role: Role, found: list[Instance], held: Lease, kinship: Kinship
) -> tuple[list[Instance], Lease]:
    """Say which instance a lease belongs to.

    A lease whose owner is gone but which a matching instance still holds is that instance's. And
    a living owner counts as an instance even if it does not match (a wrapper that has yet to
    exec) or has lost its lock (it closed all descriptors and its shim was killed).
    """
    owner = held.owner
    if owner is None:
        return found, held
    if held.state is LeaseState.ORPHANED:
        for index, instance in enumerate(found):
            if set(held.holders) & set(instance.pids):
                found[index] = replace(instance, leased=True, token=owner.token)
                held = replace(held, state=LeaseState.HELD, reason="its first process is gone")
        return found, held
    whole = _owned(owner, kinship)
    if not whole:
        return found, held
    pids = {one.pid for one in whole}
    rest = [instance for instance in found if instance.pid not in pids]
    leased = held.state is LeaseState.HELD
    return [*rest, Instance(role.name, whole, leased=leased, token=owner.token)], held


def _owned(owner: Owner, kinship: Kinship) -> tuple[Process, ...]:
    """The living owner's tree; empty when it is gone, or was a caller that only claimed."""
    root = kinship.by_pid.get(owner.identity.pid)
    if root is None or root.identity != owner.identity or root.state == "Z" or owner.shim is None:
        return ()
    return kinship.tree(root)
