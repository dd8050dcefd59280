"""Records the tasks that a queue server lost when it restarted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from console.core.model.events import EventKind
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import QueueView
from console.core.records import Component
from console.core.text.json_values import as_number
from console.system.box import Box
from console.system.store.store import StoreError

MAX_EVENTS = 100
"""Events that are read to find whether an earlier daemon has recorded the loss."""


class QueueLossRecorder(Component):
    """Recorder of one event for each restart of the queue server."""

    box: Box
    _last_recorded: Moment | None = None

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Handle every snapshot until cancelled."""
        async for snapshot in snapshots:
            queue = snapshot.queue
            if queue.loss_at is not None and queue.loss_at != self._last_recorded:
                self._last_recorded = queue.loss_at
                await asyncio.to_thread(self._record_loss, queue, queue.loss_at)

    def _record_loss(self, queue: QueueView, restarted_at: Moment) -> None:
        with contextlib.suppress(StoreError):
            for event in self.box.store.events(kinds=(EventKind.NOTICED,), limit=MAX_EVENTS):
                if as_number(event.data.get("anew_at")) == restarted_at.at:
                    return
        data = {"anew_at": restarted_at.at, "lost": queue.lost_tasks}
        self.box.record_or_queue(
            EventKind.NOTICED, actor="daemon", reason=queue.loss_message, data=data
        )
