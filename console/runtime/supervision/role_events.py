"""Reads a role's starts and deaths from the event log, and records those that are missing there."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from console.core.model.events import START_KINDS, EventKind
from console.core.model.processes import Identity, Instance
from console.core.model.roles import Role
from console.core.records import Component
from console.core.supervision.role_codec import RoleObservation
from console.core.supervision.role_history import OUTSIDE_ACTOR
from console.system.box import Box
from console.system.guard import lifecycle_events
from console.system.host import reboot
from console.system.locks import lease
from console.system.processes import process_table, procfs
from console.system.store.store import StoreError


def read_living_instances(box: Box, role: Role) -> dict[Identity, Instance]:
    """Return the instances that the event log shows as started or adopted and not as dead.

    Returns {} if the store cannot be read.
    """
    instances: dict[Identity, Instance] = {}
    with contextlib.suppress(StoreError):
        events = box.store.events(role=role.name, kinds=(*START_KINDS, EventKind.DIED))
        for event in (*events, *box.outbox.pending_events(role.name)):
            if event.identity is None:
                continue
            identity = lease.with_current_boot_id(event.identity, event.moment)
            if event.kind in START_KINDS:
                placeholder = process_table.placeholder_process(identity, event.moment)
                leased = event.kind is EventKind.STARTED
                instances[identity] = Instance(role.name, (placeholder,), leased, event.token)
            elif event.kind is EventKind.DIED:
                instances.pop(identity, None)
    return instances


def find_unrecorded_deaths(box: Box, role: Role) -> dict[Identity, Instance]:
    """Return the instances that are dead without a recorded death.

    A command has recorded their start, and the supervisor has never observed them.
    """
    return {
        identity: instance
        for identity, instance in read_living_instances(box, role).items()
        if not procfs.is_alive(identity)
    }


class PeerEventReader(Component):
    """Reader of the starts and adoptions that other processes record."""

    _last_read_id: int | None = None
    """Id of the last event that was read; None before the first read."""

    def has_unread(self, last_event_id: int) -> bool:
        """Return True if the event log was not read as far as this event."""
        return last_event_id != self._last_read_id

    def has_unknown_dead(
        self, box: Box, known_identities: Collection[Identity], last_event_id: int
    ) -> bool:
        """Return True if a new event names an unknown instance that is already dead."""
        after, self._last_read_id = self._last_read_id, last_event_id
        with contextlib.suppress(StoreError):
            if after is not None:
                events = box.store.events(after, kinds=START_KINDS)
                unknown_identities = (
                    event.identity
                    for event in events
                    if event.identity and event.identity not in known_identities
                )
                return any(not procfs.is_alive(identity) for identity in unknown_identities)
        return False


def record_new_instance(
    box: Box, role: Role, instance: Instance, observation: RoleObservation
) -> None:
    """Record a start or an adoption.

    The store ignores it if the command that started the instance has recorded the start.
    """
    if instance.token is not None:
        actor = observation.lease.owner.actor if observation.lease.owner else ""
        box.record_or_queue(
            EventKind.STARTED,
            role=role.name,
            actor=actor,
            identity=instance.identity,
            token=instance.token,
        )
        return
    lifecycle_events.record_adoption(box, role, instance, OUTSIDE_ACTOR)


def has_shim(box: Box, role: Role, instance: Instance) -> bool:
    """Return True if a shim of this box certifies the instance's death.

    The instance has a lease, or it was adopted with its token after the lease was lost.
    """
    if instance.leased:
        return True
    with contextlib.suppress(StoreError):
        events = box.store.events(role=role.name, kinds=(EventKind.ADOPTED,))
        return any(
            event.identity == instance.identity and event.token is not None for event in events
        )
    return False


def is_death_certified(box: Box, role: Role, identity: Identity) -> bool:
    """Return True if the event log has a death of this identity, as written by its shim."""
    with contextlib.suppress(StoreError):
        box.import_certificates()
        events = box.store.events(role=role.name, limit=20)
        return any(event.kind is EventKind.DIED and event.identity == identity for event in events)
    return False


def _stop_request_reason(box: Box, role: Role, identity: Identity) -> str | None:
    """Return a reason that names the command and actor that requested this end, or None."""
    with contextlib.suppress(StoreError):
        events = box.store.events(role=role.name, kinds=(EventKind.ASKED,))
        for event in reversed([*events, *box.outbox.pending_events(role.name)]):
            if event.kind is EventKind.ASKED and event.identity == identity:
                verb = event.data.get("verb", "end")
                return f"ended on request ({verb} by {event.actor}); exit code unknown"
    return None


def record_unknown_death(box: Box, role: Role, instance: Instance) -> None:
    """Record a death; the store ignores it if the death is recorded already.

    Without a shim, exit code and cause are unknown.
    """
    certifies = has_shim(box, role, instance)
    unknown_reason = "its shim has left no certificate" if certifies else "not started by us"
    reason = (
        _stop_request_reason(box, role, instance.identity)
        or f"exit code unknown ({unknown_reason})"
    )
    reason, data = reboot.explain_death(instance.identity, instance.root.started, reason)
    box.record_or_queue(
        EventKind.DIED,
        role=role.name,
        actor=OUTSIDE_ACTOR,
        reason=reason,
        identity=instance.identity,
        token=instance.token,
        data=data,
    )
