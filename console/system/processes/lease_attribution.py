"""Which instance a lease belongs to."""

from __future__ import annotations

from console.core.frozen import replace
from console.core.model import Instance, Lease, LeaseState, Owner, Process, Role
from console.core.processes.instances import MARKS
from console.system.processes.role_survey import Survey


def attribute(
    role: Role, found: list[Instance], held: Lease, seen: Survey
) -> tuple[list[Instance], Lease]:
    """Say which instance a lease belongs to.

    A lease whose owner is gone but which a matching instance still holds is that instance's. A
    living owner counts as an instance even if it does not match (a wrapper that has yet to exec, a
    worker that has changed its title) or has lost its lock (it closed all descriptors and its shim
    was killed). What bears the owner's marks is part of the owner's instance; where the owner is
    gone and its shim is at work, it is a leftover that the shim ends.
    """
    owner = held.owner
    if owner is None:
        return found, held
    if held.state is LeaseState.ORPHANED:
        for index, instance in enumerate(found):
            if set(held.holders) & set(instance.pids):
                found[index] = replace(instance, leased=True, token=owner.token, box=None)
                held = replace(held, state=LeaseState.HELD, reason="its first process is gone")
        return found, held
    whole = _owned(role, owner, seen)
    kin = [one for one in found if _granted(one.root, role, owner, seen.scope.box)]
    if not whole:
        leftovers = kin if held.state is LeaseState.HELD else []
        return [one for one in found if one not in leftovers], held
    pids = {one.pid for one in whole}
    rest = [one for one in found if one.pid not in pids and one not in kin]
    loose = (one for instance in kin for one in instance.processes if one.pid not in pids)
    leased = held.state is LeaseState.HELD
    mine = Instance(role.name, (*whole, *loose), leased=leased, token=owner.token)
    return [*rest, mine], held


def _owned(role: Role, owner: Owner, seen: Survey) -> tuple[Process, ...]:
    """The living owner's tree; empty when it is gone, or was a caller that only claimed."""
    root = seen.kinship.by_pid.get(owner.identity.pid)
    if root is None or root.identity != owner.identity or root.state == "Z" or owner.shim is None:
        return ()
    return seen.kinship.tree(root, seen.stops(role.name))


def _granted(process: Process, role: Role, owner: Owner, box: str) -> bool:
    """Whether a process bears the marks of the owner's grant."""
    marks = [process.env.get(mark) for mark in MARKS]
    return marks == [box, role.name, str(owner.token)]
