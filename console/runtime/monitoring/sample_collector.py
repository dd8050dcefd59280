"""Probes the monitors and stores their samples, also while probes or the store fail."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping

from console.core import resource_limits
from console.core.model.events import EventKind
from console.core.model.samples import Sample
from console.core.records import Component, field
from console.core.text.formatting import format_clock
from console.monitors import Monitor
from console.runtime.snapshots.store_view import CANARY, StoreView
from console.system.box import Box
from console.system.store import rows
from console.system.store.store import StoreError

WORKER = "worker"
"""Monitor whose samples are saved without waiting for a batch: starts and deaths are urgent."""
BATCH_TIMEOUT_S = 0.05
MAX_UNSAVED_SAMPLES = 10_000
"""Samples kept in memory while the store fails."""


class SampleCollector(Component):
    """Collector that runs one probe of each monitor at a time and saves the samples.

    While the store fails, the samples are kept in memory.
    """

    box: Box
    monitors: Mapping[str, Monitor]
    view: StoreView
    _probe_tasks: dict[str, asyncio.Task[Sample]] = field(default_factory=dict)
    _pending: list[Sample] = field(default_factory=list)
    """Samples that no save was tried for yet."""
    _unsaved: deque[Sample] = field(default_factory=lambda: deque(maxlen=MAX_UNSAVED_SAMPLES))
    _dropped_count: int = 0
    """How many samples were dropped because too many were unsaved."""
    _save_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def record_canary_start(self, name: str) -> None:
        """Store the moment of the first canary, if `for_s` limits how long canaries are sent.

        Does nothing for other monitors.
        """
        limit_s = self.box.settings.monitors.canary.for_s
        if name != CANARY or limit_s is None:
            return
        with contextlib.suppress(StoreError):
            fact = await asyncio.to_thread(self.box.store.get_fact, CANARY)
            if not isinstance(fact, dict) or fact.get("for_s") != limit_s:
                now = self.box.now()
                start = {"for_s": limit_s, "began": [now.at, now.tick, now.boot]}
                await asyncio.to_thread(self.box.store.set_fact, CANARY, start)

    async def collect(self, name: str) -> Sample:
        """Return the monitor's sample, or an unknown sample that states the error.

        A probe that hangs is not started again. Its thread cannot be ended, and further probes
        would hang too, until no threads were left for the other monitors.
        """
        limit_s = self.view.timeout_s(name)
        task = self._probe_tasks.get(name)
        if task is None or task.done():
            task = asyncio.create_task(self._probe(name), name=f"probe {name}")
            self._probe_tasks[name] = task
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        if done:
            return task.result()
        return Sample(name, self.box.now(), error=f"did not answer within {limit_s:g} s")

    async def _probe(self, name: str) -> Sample:
        try:
            sample = await self.monitors[name].probe(self.box)
            rows.encode_sample(sample)  # a sample that cannot be encoded is an error
        except Exception as error:
            reason = (
                resource_limits.limit_message(error) or f"{type(error).__name__}: {error}"[:500]
            )
            return Sample(name, self.box.now(), error=reason)
        return sample

    async def store_sample(self, sample: Sample) -> None:
        """Save a sample. If the store fails, keep the sample and save it with a later one.

        The view shows how many samples are not saved.
        """
        self._pending.append(sample)
        async with self._save_lock:
            # Samples that arrive together, or during a save, are saved together.
            if self._pending and sample.monitor != WORKER:
                await self._wait_for_batch()
            if batch := [*self._pending]:
                self._pending.clear()
                await asyncio.to_thread(self._save, batch)

    async def _wait_for_batch(self) -> None:
        """Wait for the running probes, at most `BATCH_TIMEOUT_S`."""
        running = {task for task in self._probe_tasks.values() if not task.done()}
        if running:
            await asyncio.wait(running, timeout=BATCH_TIMEOUT_S)
        await asyncio.sleep(0)  # lets finished probes append their samples

    def _save(self, samples: list[Sample]) -> None:
        try:
            self.box.store.add_samples([*self._unsaved, *samples])
        except StoreError as error:
            self._buffer(samples, error)
            return
        if self._unsaved:
            self._record_late_save()
            self._unsaved.clear()
            self._dropped_count, self.view.unsaved_reason = 0, None
            self.view.invalidate()
        self._refresh_view()

    def _buffer(self, samples: list[Sample], error: StoreError) -> None:
        for sample in samples:
            self._dropped_count += len(self._unsaved) == MAX_UNSAVED_SAMPLES
            self._unsaved.append(sample)
            self.view.add_unsaved(sample)
        self.view.unsaved_reason = f"{len(self._unsaved)} samples not saved yet: {error}"

    def _record_late_save(self) -> None:
        """Record how many samples were saved late, and how many are lost."""
        reason = (self.view.unsaved_reason or "").partition(": ")[2]
        message = f"{len(self._unsaved)} samples since {format_clock(self._unsaved[0].moment)}"
        message += f" were kept in memory and are saved now ({reason})"
        if self._dropped_count:
            message += f"; {self._dropped_count} before them are lost: that time is unknown"
        self.box.record_or_queue(EventKind.NOTICED, actor="daemon", reason=message)

    def _refresh_view(self) -> None:
        self.box.outbox.flush()
        with contextlib.suppress(StoreError):
            self.view.refresh()
