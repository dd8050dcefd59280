"""Records changes of the verdict once it is settled.

After a start, or when the machine wakes, the verdict is unknown until the monitors have samples.
That is not recorded as a change.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from console.core.model.events import EventKind
from console.core.model.samples import HealthState
from console.core.model.snapshot import Snapshot, Verdict
from console.core.records import asdict
from console.runtime.snapshots.store_view import StoreView
from console.runtime.watchers.clock_jumps import ClockJumpDetector
from console.system.box import Box
from console.system.threads import run_in_thread

SETTLE_TIME_S = 10.0
"""Settle time: an unknown verdict counts only after the monitors had this long to sample."""


class VerdictRecorder:
    """Recorder of every change of the verdict, and of clock jumps."""

    def __init__(
        self,
        box: Box,
        view: StoreView,
    ) -> None:
        self.box = box
        self.view = view
        self._clock_jump_detector: ClockJumpDetector = ClockJumpDetector()
        self._settling_since = self.box.now()
        """When the settle time began: at the start of this process, or at the last clock jump."""

    async def record_clock_jump(self) -> bool:
        """Record a suspend of the machine, or that its clock was set.

        Return True if there was one.
        """
        jump = self._clock_jump_detector.check()
        if jump is not None:
            self._settling_since = self.box.now()
            await self._record_event(EventKind.NOTICED, str(jump), asdict(jump))
        return jump is not None

    async def settled_snapshots(
        self, snapshots: AsyncIterator[Snapshot]
    ) -> AsyncIterator[Snapshot]:
        """Yield the snapshots that are settled, and all once `SETTLE_TIME_S` has passed."""
        async for snapshot in snapshots:
            if is_settled(snapshot) or snapshot.moment.since(self._settling_since) >= SETTLE_TIME_S:
                yield snapshot

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Record every change of the verdict as an event, which shows since when it holds."""
        recorded = self.view.last_verdict()
        async for snapshot in self.settled_snapshots(snapshots):
            if snapshot.verdict.value != recorded:
                recorded = snapshot.verdict.value
                data = {"verdict": recorded, "reasons": list(snapshot.reasons[:10])}
                await self._record_event(
                    EventKind.VERDICT_CHANGED, "; ".join(snapshot.reasons), data
                )

    async def _record_event(self, kind: EventKind, reason: str, data: Mapping[str, Any]) -> None:
        await run_in_thread(
            self.box.record_or_queue, kind, actor="daemon", reason=reason, data=data
        )


def is_settled(snapshot: Snapshot) -> bool:
    """Return True if every enabled monitor has a sample and the verdict is not unknown."""
    sampled = (view.last or view.health.state is HealthState.OFF for view in snapshot.monitors)
    return snapshot.verdict is not Verdict.UNKNOWN and all(sampled)
