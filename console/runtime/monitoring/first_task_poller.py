"""A close eye on the queue while a new worker has yet to be seen to work.

The queue is asked every few seconds; whoever has just repaired a worker wants to know in less
whether that has helped. Nothing but news is kept: each look in the store counts as one of those
that a verdict waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from console.core.frozen import slotted
from console.core.model import Moment, RoleState, Sample, Snapshot
from console.core.text.json_values import count
from console.runtime.monitoring.sample_collector import Prober

PEEK_S = 0.25
NEW_S = 30.0
"""Who has not worked by then is left to the usual looks."""
QUEUE, WORKER = "queue", "worker"


@slotted
class FirstWork:
    """Has the queue monitor look at once when a new worker's first task is done."""

    prober: Prober
    look_now: Callable[[str], None]

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Attend to every snapshot until cancelled."""
        view, seen = self.prober.view, None
        if QUEUE not in view.monitors or view.off(QUEUE):
            return
        async for snapshot in snapshots:
            started = _awaited(snapshot)
            if started is not None and started != seen:
                seen = started
                await self._follow(started)

    async def _follow(self, started: Moment) -> None:
        """Peek until more is done than at a look since its start; then have that told."""
        self.look_now(QUEUE)  # what is done from here on, the new one has done
        while self.prober.box.now().since(started) < NEW_S:
            await asyncio.sleep(PEEK_S)
            last = self.prober.view.last(QUEUE)
            if last is None or started.later_than(last.moment):
                continue
            if _done(await self.prober.ask(QUEUE)) > _done(last):
                self.look_now(QUEUE)
                return


def _awaited(snapshot: Snapshot) -> Moment | None:
    """When the newest worker started, if it is new and has not been seen to work."""
    for view in snapshot.roles:
        if view.role.name == WORKER and view.state in (RoleState.STARTING, RoleState.RUNNING):
            newest = [instance.root.started for instance in view.instances]
            return max(newest, key=lambda moment: moment.tick, default=None)
    return None


def _done(look: Sample) -> int:
    """How many tasks workers were seen to answer; -1 where the look does not tell."""
    done = count(look.data.get("answered")) if look.error is None else None
    return -1 if done is None else done
