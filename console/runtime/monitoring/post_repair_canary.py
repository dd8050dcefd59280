"""Sends a canary when the box may work again, so that the verdict follows a repair at once.

Otherwise a canary that failed would be believed until the next one is due, half an hour later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from console.core.frozen import slotted
from console.core.model import (
    HealthState,
    Identity,
    Moment,
    MonitorView,
    RoleState,
    RoleView,
    Snapshot,
)

if TYPE_CHECKING:
    from console.runtime.snapshots.store_view import View

CANARY, WORKER, QUEUE = "canary", "worker", "queue"
FIRST_S, LONGEST_S = 5.0, 600.0
"""Pauses between canaries while they fail although worker and queue run; each is twice the last."""
ALIVE = (RoleState.RUNNING, RoleState.READY)


@slotted
class Repaired:
    """Has the canary monitor look after a repair, and again while its last canary failed."""

    view: View
    look_now: Callable[[str], None]
    _known: frozenset[Identity] | None = None
    """The workers that were seen last."""
    _stalled: bool = False
    _failed: Moment | None = None
    """The look of the failed canary that was last repeated."""
    _pause_s: float = FIRST_S

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Attend to every snapshot until cancelled."""
        async for snapshot in snapshots:
            if self._due(snapshot):
                self.look_now(CANARY)
            await asyncio.sleep(0)

    def _due(self, snapshot: Snapshot) -> bool:
        """Whether a canary would tell something new now."""
        worker, queue = snapshot.role(WORKER), snapshot.monitor(QUEUE)
        if worker is None or CANARY not in self.view.monitors or self.view.off(CANARY):
            return False
        born = self._born(worker)
        if worker.state not in (*ALIVE, RoleState.STALLED) or _down(queue):
            return False
        return born or self._failing(snapshot)

    def _born(self, worker: RoleView) -> bool:
        """Whether another worker runs in the place of one that has gone.

        The first look tells nothing; a worker that came beside another is no repair. One that was
        stalled and goes on is asked as well, as long as it was not seen to work.
        """
        resumed, self._stalled = self._stalled, worker.state is RoleState.STALLED
        if worker.state not in ALIVE:
            if worker.state is not RoleState.UNKNOWN:
                self._known = frozenset() if self._known is None else self._known
            return False
        now = frozenset(one.identity for one in worker.instances)
        before, self._known = self._known, now
        if resumed and worker.state is RoleState.RUNNING:
            return True
        return before is not None and bool(now - before) and not before & now

    def _failing(self, snapshot: Snapshot) -> bool:
        """Whether the newest canary failed, and long enough ago to be repeated."""
        canary = snapshot.monitor(CANARY)
        last = canary.last if canary is not None else None
        if last is None or last.error is not None or last.data.get("ok") is not False:
            self._pause_s, self._failed = FIRST_S, None
            return False
        if self._failed == last.moment or snapshot.moment.since(last.moment) < self._pause_s:
            return False
        self._failed = last.moment
        self._pause_s = min(2 * self._pause_s, LONGEST_S)
        return True


def _down(queue: MonitorView | None) -> bool:
    """Whether the queue server is known not to answer."""
    health = queue.health if queue is not None else None
    return health is not None and health.state is HealthState.FAILING and health.kind == "silent"
