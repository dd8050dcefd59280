"""Records the start, adoption and death of every instance in the event log.

Any process may record an event that another one was killed before recording. The store ignores the
second event for the same start or death, so each is in the log once.
"""

from __future__ import annotations

import contextlib

from console.core.model.events import Event, EventKind
from console.core.model.processes import Identity, Instance
from console.core.model.roles import Owner, Role
from console.core.model.time import Moment
from console.system import clock
from console.system.box import Box, Observation
from console.system.processes import procfs, worker_registry
from console.system.store.store import StoreError


def ensure_starts_recorded(box: Box, role: Role, observation: Observation, actor: str) -> None:
    """Record the start or the adoption of each observed instance."""
    for instance in observation.instances:
        ensure_start_recorded(box, role, instance, observation, actor)


def ensure_start_recorded(
    box: Box, role: Role, instance: Instance, observation: Observation, actor: str
) -> None:
    """Record one instance's start or adoption, unless another state directory runs it."""
    if instance.box is not None:
        return
    owners = (one.owner for one in observation.leases if one.owner is not None)
    owner = next((one for one in owners if one.identity == instance.identity), None)
    if owner is not None:
        _record_start(box, role, owner)
    elif instance.token is None:
        record_adoption(box, role, instance, actor)


def record_adoption(box: Box, role: Role, instance: Instance, actor: str) -> None:
    """Record the adoption of an instance that runs without a lease.

    If a state directory is lost, the leases of its workers are lost with it. The worker records
    still contain the tokens. Such a token is saved, so that later tokens are higher.
    """
    from console.system.processes.launch_origin import describe_launcher

    token = worker_registry.read_token(role, box.name, instance.identity)
    started = instance.root.started
    age = f"{clock.now().since(started):.0f}s ago"
    if token is None:
        worker_registry.register_adopted(role, box.name, instance.identity)
        reason = f"found running, started by others {age}"
    else:
        with contextlib.suppress(StoreError):
            box.store.save_token(role.name, token)
        reason = f"found running, started {age} by this state directory, which has lost its lease"
    box.record_or_queue(
        EventKind.ADOPTED,
        role=role.name,
        actor=actor,
        reason=reason,
        identity=instance.identity,
        token=token,
        data={
            "started_at": started.at,
            "pids": list(instance.pids),
            "launcher": describe_launcher(instance.root),
        },
    )


def _record_start(box: Box, role: Role, owner: Owner) -> None:
    fields = (owner.actor, "", owner.identity, owner.token)
    box.outbox.write_or_queue(Event(EventKind.STARTED, owner.since, role.name, *fields))


def record_uncertified_death(box: Box, role: Role, owner: Owner | None) -> None:
    """Record the owner's death if no shim has certified it.

    The caller must hold the lease, which proves that no shim is left.
    """
    if owner is None or owner.shim is None or procfs.is_alive(owner.identity):
        return
    with contextlib.suppress(StoreError):
        box.import_certificates()
    _record_start(box, role, owner)
    reason = "found dead; its shim has left no certificate, so the cause is unknown"
    _record_death(box, role, owner.identity, owner.token, owner.since, reason)


def ensure_end_recorded(box: Box, role: Role, instance: Instance, how: str) -> None:
    """Record the death of an instance that this command ended, unless a shim has certified it."""
    reason = f"ended on request, {how}"
    _record_death(box, role, instance.identity, instance.token, instance.root.started, reason)


def _record_death(
    box: Box, role: Role, identity: Identity, token: int | None, since: Moment, reason: str
) -> None:
    from console.system.host import reboot  # rarely needed

    reason, data = reboot.explain_death(identity, since, reason)
    box.record_or_queue(
        EventKind.DIED,
        role=role.name,
        actor="guard",
        reason=reason,
        identity=identity,
        token=token,
        data=data,
    )
