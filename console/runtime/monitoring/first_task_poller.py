"""Polls the queue until a new worker has finished its first task.

The queue monitor's interval is several seconds; an operator who has just repaired a worker needs
the result sooner. Polled samples are not stored, because a stored sample counts as one of those
that a verdict requires. A finished task triggers a regular probe instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from console.core.model.roles import RoleState
from console.core.model.samples import Sample
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.records import Component
from console.core.text.json_values import as_count
from console.runtime.monitoring.sample_collector import SampleCollector

POLL_INTERVAL_S = 0.25
FIRST_TASK_TIMEOUT_S = 30.0
"""A worker that has finished no task by then is left to the regular samples."""
QUEUE, WORKER = "queue", "worker"


class FirstTaskPoller(Component):
    """Poller that has the queue monitor probed as soon as a new worker's first task is done."""

    collector: SampleCollector
    request_probe: Callable[[str], None]

    async def run(self, snapshots: AsyncIterator[Snapshot]) -> None:
        """Handle every snapshot until cancelled."""
        view, last_started = self.collector.view, None
        if QUEUE not in view.monitors or view.disabled_reason(QUEUE):
            return
        async for snapshot in snapshots:
            started = _starting_worker_since(snapshot)
            if started is not None and started != last_started:
                last_started = started
                await self._poll_until_first_task(started)

    async def _poll_until_first_task(self, started: Moment) -> None:
        """Poll until more tasks are answered than in the last sample since `started`.

        Then have the queue monitor probed. Gives up after `FIRST_TASK_TIMEOUT_S`.
        """
        self.request_probe(QUEUE)  # later tasks are answered by the new worker
        while self.collector.box.now().since(started) < FIRST_TASK_TIMEOUT_S:
            await asyncio.sleep(POLL_INTERVAL_S)
            last = self.collector.view.last_sample(QUEUE)
            if last is None or started.later_than(last.moment):
                continue
            if _answered_count(await self.collector.collect(QUEUE)) > _answered_count(last):
                self.request_probe(QUEUE)
                return


def _starting_worker_since(snapshot: Snapshot) -> Moment | None:
    """Return the moment at which the newest worker instance started.

    None if the role has no new worker, or its new worker has already been seen to work.
    """
    for view in snapshot.roles:
        if view.role.name == WORKER and view.state in (RoleState.STARTING, RoleState.RUNNING):
            starts = [instance.root.started for instance in view.instances]
            return max(starts, key=lambda moment: moment.tick, default=None)
    return None


def _answered_count(sample: Sample) -> int:
    """Return how many tasks the workers have answered; -1 if the sample does not show it."""
    done = as_count(sample.data.get("answered")) if sample.error is None else None
    return -1 if done is None else done
