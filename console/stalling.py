"""What the daemon does about a role that is alive and does no work: tells it, and repairs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from console.core import supervision
from console.core.memory import Memory
from console.core.model import EventKind, RoleState, RoleView, Snapshot
from console.sentry import Sentry
from console.system.box import Box
from console.system.store import StoreError

ACTOR = "daemon"


@dataclass(slots=True)
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
                    await self._attend(view)

    async def _attend(self, view: RoleView) -> None:
        """A role that is stalled, or whose state has changed."""
        try:
            memory = await asyncio.to_thread(self._tell, view)
            self._states[view.role.name] = view.state
        except StoreError:
            return  # without the ledger nothing is known; the next snapshot comes soon
        if view.state is RoleState.STALLED:
            decision = supervision.shake(view.role, memory, view.instances, self.box.now())
            await self.sentry.repair(view.role, decision, memory)

    def _tell(self, view: RoleView) -> Memory:
        """Write what has changed; what the ledger adds up to then. Raises StoreError."""
        memory = self._memory(view)
        told = memory.stalled
        if view.state is RoleState.STALLED:
            stopped = (one for one in view.instances if one.root.state == "T")
            one = next(stopped, view.instances[-1])
            if told is not None and told.identity == one.identity:
                return memory
            self._record(EventKind.STALLED, view, view.reason, one)
        elif told is not None and works_again(view, told):
            self._record(EventKind.READY, view, "seen to work again", view.instances[0])
        else:
            return memory
        self.refresh()
        return self._memory(view)
