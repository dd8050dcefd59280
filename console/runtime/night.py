"""What the daemon does with what it sees, besides showing it: alerts, baseline, hand-over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import field

from console.core import handover, since
from console.core.frozen import slotted
from console.core.markdown import markdown
from console.core.model import Alert, EventKind, Moment, Snapshot
from console.runtime import collecting
from console.runtime.alerting import ACTOR, Alerting
from console.runtime.telling import Teller
from console.system.box import Box

HANDOVER_S = 60.0
EVENTS = 5_000


@slotted
class Night:
    """Goes on until morning: whatever goes wrong in one part is told, and stops no other."""

    box: Box
    refresh: Callable[[], None]
    """Has the view read what we have written."""
    alerting: Alerting = field(init=False)
    teller: Teller = field(init=False)
    _looked: Moment | None = None
    _written: tuple[Moment, str] | None = None
    """When the hand-over was last written, and with which verdict."""
    _told: set[str] = field(default_factory=set)
    """Troubles that the ledger knows of."""

    def __post_init__(self) -> None:
        self.alerting = Alerting(self.box)
        self.teller = Teller(self.box, self._untold)

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Attend to every snapshot until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.teller.run(), name="alert hook")
            async for snapshot in snapshots:
                await self.attend(snapshot)

    async def attend(self, snapshot: Snapshot) -> None:
        """One snapshot, if it is time to look."""
        look_s = self.box.settings.alerts.look_s
        if self._looked is None:  # the monitors are given one look's time to begin
            self._looked = snapshot.moment
        if snapshot.moment.since(self._looked) >= look_s:
            self._looked = snapshot.moment
            look, *_ = await self._try(
                lambda: self.alerting.look(snapshot),
                lambda: collecting.attend(self.box),
                self.refresh,
            )
            for state, alert in look if isinstance(look, list) else ():
                self.teller.tell(state, alert)
        if self._due(snapshot):
            self._written = snapshot.moment, snapshot.verdict.value
            await self._try(lambda: self._hand_over(snapshot))

    async def _try(self, *parts: Callable[[], object]) -> list[object]:
        """Do the parts in a thread, one errand; what one raises is told, and stops no other."""
        return await asyncio.to_thread(lambda: [self._done(part) for part in parts])

    def _done(self, part: Callable[[], object]) -> object:
        try:
            return part()
        except Exception as error:
            self._trouble(f"{type(error).__name__}: {error}"[:300])
            return None

    def _trouble(self, words: str) -> None:
        same = words.partition(" does not answer since ")[0]  # for how long differs each time
        if same not in self._told and len(self._told) < 100:
            self._told.add(same)
            self.box.tell(EventKind.NOTICED, "", ACTOR, f"upkeep: {words}")

    def _untold(self, alert: Alert, trouble: str) -> None:
        reason = f"the alert hook was not told of {alert.key}: {trouble}"
        self.box.tell(EventKind.NOTICED, "", ACTOR, reason, None, None, {"key": alert.key})

    # --- the hand-over ---------------------------------------------------------------------

    def _due(self, snapshot: Snapshot) -> bool:
        if self._written is None:
            return True
        at, verdict = self._written
        return snapshot.verdict.value != verdict or snapshot.moment.since(at) >= HANDOVER_S

    def _hand_over(self, snapshot: Snapshot) -> None:
        """Write the document that the next person reads. Raises FileError, StoreError."""
        events = self.box.store.events(limit=EVENTS)
        document = handover.compose(snapshot, events, since.ago(since.DAY_S, snapshot.moment))
        self.box.door.write("handover.md", markdown(document))
