"""Attributes a lease to the instance it belongs to."""

from __future__ import annotations

from console.core.model.processes import Instance, Process
from console.core.model.roles import Lease, LeaseState, Owner, Role
from console.core.processes.instances import ENV_MARKERS
from console.core.records import replace
from console.system.processes.role_survey import Survey


def attribute_lease(
    role: Role, instances: list[Instance], lease: Lease, survey: Survey
) -> tuple[list[Instance], Lease]:
    """Return the instances and the lease, with the lease attributed to its instance.

    A lease whose owner is gone but which a matching instance still holds belongs to that instance.
    A living owner counts as an instance even if it does not match (a wrapper before its exec, a
    worker that has changed its title) or has lost its lock (it closed all descriptors, and its
    shim was killed). A process with the owner's environment markers is part of the owner's
    instance. If the owner is gone and its shim is still running, such a process is a leftover,
    which the shim ends.
    """
    owner = lease.owner
    if owner is None:
        return instances, lease
    if lease.state is LeaseState.ORPHANED:
        for index, instance in enumerate(instances):
            if set(lease.holders) & set(instance.pids):
                instances[index] = replace(instance, leased=True, token=owner.token, box=None)
                lease = replace(lease, state=LeaseState.HELD, reason="its first process is gone")
        return instances, lease
    tree = _owner_tree(role, owner, survey)
    marked = [
        one for one in instances if _has_owner_markers(one.root, role, owner, survey.scope.box)
    ]
    if not tree:
        leftovers = marked if lease.state is LeaseState.HELD else []
        return [one for one in instances if one not in leftovers], lease
    pids = {one.pid for one in tree}
    rest = [one for one in instances if one.pid not in pids and one not in marked]
    loose = (one for instance in marked for one in instance.processes if one.pid not in pids)
    leased = lease.state is LeaseState.HELD
    owned = Instance(role.name, (*tree, *loose), leased=leased, token=owner.token)
    return [*rest, owned], lease


def _owner_tree(role: Role, owner: Owner, survey: Survey) -> tuple[Process, ...]:
    """Return the living owner's process tree.

    The tree is empty if the owner is gone, or if its record is only the claim of a caller that is
    about to start a worker (it names no shim).
    """
    root = survey.forest.by_pid.get(owner.identity.pid)
    if root is None or root.identity != owner.identity or root.state == "Z" or owner.shim is None:
        return ()
    return survey.forest.descendants_of(root, survey.other_role_pids(role.name))


def _has_owner_markers(process: Process, role: Role, owner: Owner, box_name: str) -> bool:
    """Return True if the process has the environment markers of the owner's lease."""
    values = [process.env.get(variable) for variable in ENV_MARKERS]
    return values == [box_name, role.name, str(owner.token)]
