"""Sends a canary after a repair, so that the verdict follows the repair at once.

Otherwise a failed canary would determine the verdict until the next one is due, half an hour later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from console.core.model.processes import Identity
from console.core.model.roles import RoleState
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import MonitorView, RoleView
from console.core.records import Component

if TYPE_CHECKING:
    from console.runtime.snapshots.store_view import StoreView

CANARY, WORKER, QUEUE = "canary", "worker", "queue"
RETRY_DELAY_S, MAX_RETRY_DELAY_S = 5.0, 600.0
"""First and longest delay between canaries while they fail although worker and queue run. Each
delay is twice the previous one."""
ALIVE_STATES = (RoleState.RUNNING, RoleState.READY)


class PostRepairCanary(Component):
    """Trigger of canaries: one after each repair, and more while the last canary failed."""

    view: StoreView
    request_probe: Callable[[str], None]
    _known_workers: frozenset[Identity] | None = None
    """Workers at the last observation; None before the first."""
    _was_stalled: bool = False
    _retried_failure_at: Moment | None = None
    """Moment of the failed canary sample that was last retried."""
    _retry_delay_s: float = RETRY_DELAY_S

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Handle every snapshot until cancelled."""
        async for snapshot in snapshots:
            if self._is_canary_due(snapshot):
                self.request_probe(CANARY)
            await asyncio.sleep(0)

    def _is_canary_due(self, snapshot: Snapshot) -> bool:
        """Return True if a canary sent now would yield new information."""
        worker, queue = snapshot.role(WORKER), snapshot.monitor(QUEUE)
        if worker is None or CANARY not in self.view.monitors or self.view.disabled_reason(CANARY):
            return False
        is_replaced = self._is_worker_replaced(worker)
        if worker.state not in (*ALIVE_STATES, RoleState.STALLED) or _is_queue_silent(queue):
            return False
        return is_replaced or self._is_retry_due(snapshot)

    def _is_worker_replaced(self, worker: RoleView) -> bool:
        """Return True if a new worker runs in the place of one that has ended.

        The first observation does not count, nor does a worker that starts beside a running one. A
        stalled worker that continues counts too, unless it has already been seen to work.
        """
        was_stalled, self._was_stalled = self._was_stalled, worker.state is RoleState.STALLED
        if worker.state not in ALIVE_STATES:
            if worker.state is not RoleState.UNKNOWN:
                self._known_workers = (
                    frozenset() if self._known_workers is None else self._known_workers
                )
            return False
        current = frozenset(instance.identity for instance in worker.instances)
        previous, self._known_workers = self._known_workers, current
        if was_stalled and worker.state is RoleState.RUNNING:
            return True
        return previous is not None and bool(current - previous) and not previous & current

    def _is_retry_due(self, snapshot: Snapshot) -> bool:
        """Return True if the newest canary failed and its retry delay has passed."""
        canary = snapshot.monitor(CANARY)
        last = canary.last if canary is not None else None
        if last is None or last.error is not None or last.data.get("ok") is not False:
            self._retry_delay_s, self._retried_failure_at = RETRY_DELAY_S, None
            return False
        if (
            self._retried_failure_at == last.moment
            or snapshot.moment.since(last.moment) < self._retry_delay_s
        ):
            return False
        self._retried_failure_at = last.moment
        self._retry_delay_s = min(2 * self._retry_delay_s, MAX_RETRY_DELAY_S)
        return True


def _is_queue_silent(queue: MonitorView | None) -> bool:
    """Return True if the queue server is known not to answer."""
    health = queue.health if queue is not None else None
    return health is not None and health.state is HealthState.FAILING and health.kind == "silent"
