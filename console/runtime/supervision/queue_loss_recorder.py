"""Writes into the ledger what a queue server lost when it began anew."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from console.core.frozen import slotted
from console.core.model import EventKind, Moment, QueueView, Snapshot
from console.core.text.json_values import number
from console.system.box import Box
from console.system.store.store import StoreError

TOLD = 100
"""Notices that are read to find whether a loss was written down by the daemon before."""


@slotted
class Losses:
    """One line for each new beginning of the queue server."""

    box: Box
    _told: Moment | None = None

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Attend to every snapshot until cancelled."""
        async for snapshot in snapshots:
            queue = snapshot.queue
            if queue.anew_at is not None and queue.anew_at != self._told:
                self._told = queue.anew_at
                await asyncio.to_thread(self._tell, queue, queue.anew_at)

    def _tell(self, queue: QueueView, seen: Moment) -> None:
        with contextlib.suppress(StoreError):
            for event in self.box.store.events(kinds=(EventKind.NOTICED,), limit=TOLD):
                if number(event.data.get("anew_at")) == seen.at:
                    return
        data = {"anew_at": seen.at, "lost": queue.lost}
        self.box.tell(EventKind.NOTICED, "", "daemon", queue.anew, None, None, data)
