"""What is news: not that nobody could look yet, as after a start or when the machine wakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, field
from typing import Any

from console.core.frozen import slotted
from console.core.model import EventKind, HealthState, Moment, Snapshot, Verdict
from console.runtime.snapshots.store_view import View
from console.runtime.watchers.clock_jumps import Clocks
from console.system.box import Box
from console.system.threads import aside

SETTLE_S = 10.0
"""That nothing is known of a box is no news until somebody has had so long to look at it."""


@slotted
class Settling:
    """Tells the ledger of every change of the verdict, and of what happens to the clocks."""

    box: Box
    view: View
    _clocks: Clocks = field(default_factory=Clocks)
    _began: Moment = field(init=False)
    """Since when the monitors could look: we began then, or the machine woke."""

    def __post_init__(self) -> None:
        self._began = self.box.now()

    async def heed_the_clocks(self) -> bool:
        """Tell of a sleep, and of a clock that was set; whether there was one."""
        leap = self._clocks.look()
        if leap is not None:
            self._began = self.box.now()
            await self._record(EventKind.NOTICED, str(leap), asdict(leap))
        return leap is not None

    async def news(self, snapshots: AsyncIterator[Snapshot]) -> AsyncIterator[Snapshot]:
        """Those of which something can be said."""
        async for snapshot in snapshots:
            if settled(snapshot) or snapshot.moment.since(self._began) >= SETTLE_S:
                yield snapshot

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Write every change of the verdict into the ledger: it says since when."""
        told = self.view.last_verdict()
        async for snapshot in self.news(snapshots):
            if snapshot.verdict.value != told:
                told = snapshot.verdict.value
                data = {"verdict": told, "reasons": list(snapshot.reasons[:10])}
                await self._record(EventKind.VERDICT_CHANGED, "; ".join(snapshot.reasons), data)

    async def _record(self, kind: EventKind, reason: str, data: Mapping[str, Any]) -> None:
        await aside(self.box.tell, kind, "", "daemon", reason, None, None, data)


def settled(snapshot: Snapshot) -> bool:
    """Every monitor has looked, and what it saw still tells how the box is."""
    looked = (view.last or view.health.state is HealthState.OFF for view in snapshot.monitors)
    return snapshot.verdict is not Verdict.UNKNOWN and all(looked)
