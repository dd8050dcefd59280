"""What the daemon does about a role that is alive and does no work: tells it, and repairs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import field

from console.core.frozen import slotted
from console.core.model import Event, EventKind, Instance, RoleState, RoleView, Snapshot
from console.core.supervision import state_machine
from console.core.supervision.role_history import Memory
from console.runtime.supervision.supervisor import Sentry
from console.system.box import Box

ACTOR = "daemon"


@slotted
class Stalling:
    """The ledger says once when a role stalls, and once when it works again."""

    box: Box
    sentry: Sentry
    refresh: Callable[[], None]
    """Has the view read what we have written."""
    _states: dict[str, RoleState] = field(default_factory=dict)

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Attend to every snapshot until cancelled."""
        async for snapshot in snapshots:
            for view in snapshot.roles:
                name = view.role.name
                if view.state is RoleState.STALLED or self._states.get(name) is not view.state:
                    with self.sentry.log.going_on(f"{name}: a stall"):
                        await self._attend(view)

    async def _attend(self, view: RoleView) -> None:
        """A role that is stalled, or whose state has changed."""
        memory = await asyncio.to_thread(self._tell, view)
        self._states[view.role.name] = view.state
        stalled = memory.stalled
        if view.state is RoleState.STALLED and stalled is not None:
            decision = state_machine.shake(view.role, memory, view.instances, self.box.now())
            await self.sentry.repair(view.role, decision, stalled.identity)

    def _tell(self, view: RoleView) -> Memory:
        """Write what has changed; what the ledger then adds up to. Raises StoreError."""
        memory = self._memory(view)
        if view.state is RoleState.STALLED:
            stopped = (one for one in view.instances if one.root.state == "T")
            one = next(stopped, view.instances[-1])
            if memory.stalled is not None and memory.stalled.identity == one.identity:
                return memory
            self._record(EventKind.STALLED, view, one, view.reason)
        elif memory.stalled is not None and _works(view, memory.stalled):
            self._record(EventKind.READY, view, view.instances[-1], "seen to work again")
        else:
            return memory
        self.refresh()
        return self._memory(view)

    def _memory(self, view: RoleView) -> Memory:
        return state_machine.remember(self.box.store.events(role=view.role.name), view.role)

    def _record(self, kind: EventKind, view: RoleView, one: Instance, reason: str) -> None:
        self.box.record(kind, view.role.name, ACTOR, reason, one.identity, one.token)


def _works(view: RoleView, stalled: Event) -> bool:
    """Seen to work since it stalled; where nobody can see that, to run."""
    if view.role.name not in state_machine.WITNESSED:
        return view.state is RoleState.RUNNING
    return view.state is RoleState.READY and state_machine.worked_since(stalled, view.worked)
