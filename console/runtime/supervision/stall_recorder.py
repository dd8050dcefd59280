"""Records when a role stalls or works again, and has the supervisor repair a stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from console.core.model.events import Event, EventKind
from console.core.model.processes import Instance
from console.core.model.roles import RoleState
from console.core.model.snapshot import Snapshot
from console.core.model.views import RoleView
from console.core.records import Component, field
from console.core.supervision import state_machine
from console.core.supervision.role_history import RoleHistory
from console.runtime.supervision.supervisor import Supervisor
from console.system.box import Box

ACTOR = "daemon"


class StallRecorder(Component):
    """Recorder of one event when a role stalls, and one when it works again."""

    box: Box
    supervisor: Supervisor
    refresh_view: Callable[[], None]
    """Makes the view read the events that were written."""
    _last_states: dict[str, RoleState] = field(default_factory=dict)

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Handle every snapshot until cancelled."""
        async for snapshot in snapshots:
            for view in snapshot.roles:
                name = view.role.name
                if view.state is RoleState.STALLED or self._last_states.get(name) is not view.state:
                    with self.supervisor.log.catch_failures(f"{name}: a stall"):
                        await self._handle_role(view)

    async def _handle_role(self, view: RoleView) -> None:
        """Record and repair a role that is stalled or whose state has changed."""
        history = await asyncio.to_thread(self._record_change, view)
        self._last_states[view.role.name] = view.state
        stall = history.stall_event
        if view.state is RoleState.STALLED and stall is not None:
            decision = state_machine.decide_stall_restart(
                view.role, history, view.instances, self.box.now()
            )
            await self.supervisor.repair(view.role, decision, stall.identity)

    def _record_change(self, view: RoleView) -> RoleHistory:
        """Record a stall or its end. Return the role's history. Raises StoreError."""
        history = self._read_history(view)
        if view.state is RoleState.STALLED:
            stopped_instances = (
                instance for instance in view.instances if instance.root.state == "T"
            )
            instance = next(stopped_instances, view.instances[-1])
            if (
                history.stall_event is not None
                and history.stall_event.identity == instance.identity
            ):
                return history
            self._record_event(EventKind.STALLED, view, instance, view.reason)
        elif history.stall_event is not None and _is_working(view, history.stall_event):
            self._record_event(EventKind.READY, view, view.instances[-1], "seen to work again")
        else:
            return history
        self.refresh_view()
        return self._read_history(view)

    def _read_history(self, view: RoleView) -> RoleHistory:
        return state_machine.fold_events(self.box.store.events(role=view.role.name), view.role)

    def _record_event(
        self, kind: EventKind, view: RoleView, instance: Instance, reason: str
    ) -> None:
        self.box.record(
            kind,
            role=view.role.name,
            actor=ACTOR,
            reason=reason,
            identity=instance.identity,
            token=instance.token,
        )


def _is_working(view: RoleView, stalled: Event) -> bool:
    """Return True if the role has worked since the stall, or runs if its work is not observable."""
    if view.role.name not in state_machine.ROLES_WITH_PROOF_OF_WORK:
        return view.state is RoleState.RUNNING
    return view.state is RoleState.READY and state_machine.worked_since_stall(
        stalled, view.last_proof_of_work
    )
