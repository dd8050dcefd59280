"""Asks the monitors and keeps what they say, whatever they or the store do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from dataclasses import field

from console.core import resource_limits
from console.core.frozen import slotted
from console.core.model import EventKind, Sample
from console.core.text.formatting import clock
from console.monitors import Monitor
from console.runtime.snapshots.store_view import CANARY, View
from console.system.box import Box
from console.system.store import rows
from console.system.store.store import StoreError

WORKER = "worker"
"""Who died or came is news that waits for nobody."""
TOGETHER_S = 0.05
UNSAVED = 10_000
"""Samples kept in memory until the store takes them again."""


@slotted
class Prober:
    """One look at a time by each monitor, into the store or, while that fails, into memory."""

    box: Box
    monitors: Mapping[str, Monitor]
    view: View
    _asked: dict[str, asyncio.Task[Sample]] = field(default_factory=dict)
    _fresh: list[Sample] = field(default_factory=list)
    """Samples that nobody has tried to save yet."""
    _unsaved: deque[Sample] = field(default_factory=lambda: deque(maxlen=UNSAVED))
    _given_up: int = 0
    """How many did not even find room in memory."""
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def begin(self, name: str) -> None:
        """Remember when the canary was first sent: it may be wanted for a day only."""
        limit_s = self.box.settings.monitors.canary.for_s
        if name != CANARY or limit_s is None:
            return
        with contextlib.suppress(StoreError):
            fact = await asyncio.to_thread(self.box.store.get, CANARY)
            if not isinstance(fact, dict) or fact.get("for_s") != limit_s:
                now = self.box.now()
                began = {"for_s": limit_s, "began": [now.at, now.tick, now.boot]}
                await asyncio.to_thread(self.box.store.put, CANARY, began)

    async def ask(self, name: str) -> Sample:
        """The monitor's own answer, or an unknown sample that says why there is none.

        A probe that hangs is left alone: a thread cannot be ended, and a second one would hang
        as well, until there were none left for the others.
        """
        limit_s = self.view.timeout_s(name)
        task = self._asked.get(name)
        if task is None or task.done():
            task = asyncio.create_task(self._probe(name), name=f"probe {name}")
            self._asked[name] = task
        done, _ = await asyncio.wait({task}, timeout=limit_s)
        if done:
            return task.result()
        return Sample(name, self.box.now(), error=f"did not answer within {limit_s:g} s")

    async def _probe(self, name: str) -> Sample:
        try:
            sample = await self.monitors[name].probe(self.box)
            rows.sample_row(sample)  # what cannot be stored was no observation
        except Exception as error:
            reason = resource_limits.reached(error) or f"{type(error).__name__}: {error}"[:500]
            return Sample(name, self.box.now(), error=reason)
        return sample

    async def keep(self, sample: Sample) -> None:
        """Keep a sample. What the store cannot take goes there with a later one; it is told."""
        self._fresh.append(sample)
        async with self._saving:
            # Those that come together, or while others are being saved, are saved together.
            if self._fresh and sample.monitor != WORKER:
                await self._company()
            if fresh := [*self._fresh]:
                self._fresh.clear()
                await asyncio.to_thread(self._save, fresh)

    async def _company(self) -> None:
        """Wait for those who are looking at this moment, if they are quick."""
        looking = {task for task in self._asked.values() if not task.done()}
        if looking:
            await asyncio.wait(looking, timeout=TOGETHER_S)
        await asyncio.sleep(0)  # until those who have seen something have said so

    def _save(self, fresh: list[Sample]) -> None:
        try:
            self.box.store.add_samples([*self._unsaved, *fresh])
        except StoreError as error:
            self._put_off(fresh, error)
            return
        if self._unsaved:
            self._tell_kept()
            self._unsaved.clear()
            self._given_up, self.view.unsaved = 0, None
            self.view.reload()
        self._refresh()

    def _put_off(self, fresh: list[Sample], error: StoreError) -> None:
        for sample in fresh:
            self._given_up += len(self._unsaved) == UNSAVED
            self._unsaved.append(sample)
            self.view.keep(sample)
        self.view.unsaved = f"{len(self._unsaved)} samples not saved yet: {error}"

    def _tell_kept(self) -> None:
        """The ledger learns what could not be written, and what of it is lost."""
        why = (self.view.unsaved or "").partition(": ")[2]
        words = f"{len(self._unsaved)} samples since {clock(self._unsaved[0].moment)}"
        words += f" were kept in memory and are saved now ({why})"
        if self._given_up:
            words += f"; {self._given_up} before them are lost: that time is unknown"
        self.box.tell(EventKind.NOTICED, "", "daemon", words)

    def _refresh(self) -> None:
        self.box.lines.catch_up()
        with contextlib.suppress(StoreError):
            self.view.refresh()
