"""The only loop: asks the monitors when they are due, stores, judges, acts by policy, publishes.

The same runtime serves two peers. The one that holds the box's monitors' lease *runs* them; every
other one *follows* what the holder writes. A monitor that raises or hangs becomes an unknown
sample and takes nobody along.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from console import actions
from console.core.model import (
    Command,
    EventKind,
    HealthState,
    Outcome,
    Sample,
    Snapshot,
    Verb,
)
from console.monitors import Monitor
from console.sentry import Sentry
from console.system.box import Box
from console.system.guard import Guard
from console.system.store import StoreError
from console.view import View

Publish = Callable[[Snapshot], None]

FOLLOW_S = 0.2
"""How often a follower asks whether the store has changed: one cheap pragma."""
REFRESH_S = 2.0
"""At least this often a follower composes anew: ages turn into verdicts without any news."""
STAGGER_S = 0.5
"""Monitors that are late together start this far apart."""
SETTLE_S = 10.0
"""A verdict on a box that nobody has looked at yet is no news; after this long it is."""


def timeout_s(monitor: Monitor, box: Box) -> float:
    """Seconds after which a monitor's probe is given up."""
    if monitor.NAME == "canary":
        return box.settings.monitors.canary.deadline_s + 10.0
    return 30.0


def settled(snapshot: Snapshot) -> bool:
    """Whether every monitor has looked at least once."""
    return all(view.last or view.health.state is HealthState.OFF for view in snapshot.monitors)


@dataclass(slots=True)
class Runtime:
    """The monitors of one box, run or followed."""

    box: Box
    monitors: Mapping[str, Monitor]
    holder: bool = False
    """Whether this process holds the lease and runs them."""
    view: View = field(init=False)
    guard: Guard = field(init=False)
    sentry: Sentry = field(init=False)
    _wakes: dict[str, asyncio.Event] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _snapshot: Snapshot | None = None
    _composed: int = 0
    _watching: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.view = View(self.box, self.monitors, self.holder)
        self.guard = Guard(self.box)
        self.sentry = Sentry(self.box, self.guard, self.look_now)
        self._wakes = {name: asyncio.Event() for name in self.monitors}

    # --- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Run every monitor and the sentry until cancelled: the daemon's whole work."""
        async with asyncio.TaskGroup() as group:
            for name in self.monitors:
                group.create_task(self._run(name), name=name)
            group.create_task(self.sentry.run(), name="sentry")
            group.create_task(self._tell_verdicts(), name="verdicts")

    async def _run(self, name: str) -> None:
        """One monitor, for ever: wait until it is due, probe, keep, judge."""
        monitor = self.monitors[name]
        if not monitor.enabled(self.box.settings):
            return
        await asyncio.sleep(STAGGER_S * sorted(self.monitors).index(name))
        while True:
            await self._until_due(name)
            await self.probe(name)

    async def _until_due(self, name: str) -> None:
        """Due is the last look plus the interval, across restarts of whoever runs the monitor."""
        wake = self._wakes[name]
        every = self.monitors[name].every(self.box.settings)
        last = self.view.last(name)
        left = every - self.box.now().since(last.moment) if last else 0.0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), max(0.0, left))
        wake.clear()

    def look_now(self, name: str) -> None:
        """Have a monitor look at once."""
        if name in self._wakes:
            self._wakes[name].set()

    async def probe(self, name: str) -> Sample:
        """One look by one monitor, kept and judged. Whatever goes wrong is an unknown sample."""
        monitor = self.monitors[name]
        limit = timeout_s(monitor, self.box)
        try:
            sample = await asyncio.wait_for(monitor.probe(self.box), limit)
        except TimeoutError:
            sample = Sample(name, self.box.now(), error=f"did not answer within {limit:g} s")
        except Exception as error:
            sample = Sample(name, self.box.now(), error=f"{type(error).__name__}: {error}"[:500])
        looked, before = self.view.last(name) is not None, self.view.health(name)
        await self._keep(sample)
        if name == "worker":
            await self.sentry.seen(sample)
        after = self.view.health(name)
        if looked and before.state is not after.state:
            data = {"monitor": name, "state": after.state.value, "was": before.state.value}
            await self._record(EventKind.MONITOR_CHANGED, f"{name}: {after.reason}", data)
        return sample

    async def _keep(self, sample: Sample) -> None:
        """Into the store; when that fails, into memory, and the screen says so."""
        try:
            await asyncio.to_thread(self.box.store.add_samples, [sample])
            self.view.trouble = None
        except StoreError as error:
            self.view.trouble = f"not saved: {error}"
            self.view.keep(sample)
            return
        await asyncio.to_thread(self._refresh)

    def _refresh(self) -> None:
        with contextlib.suppress(StoreError):
            self.view.refresh()

    async def _record(self, kind: EventKind, reason: str, data: Mapping[str, Any]) -> None:
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self.box.record, kind, "", "daemon", reason, None, None, data)

    async def _tell_verdicts(self) -> None:
        """Write every change of the verdict into the ledger: it says since when."""
        told = self.view.last_verdict()
        began = self.box.now()
        async for snapshot in self.snapshots():
            if not settled(snapshot) and self.box.now().since(began) < SETTLE_S:
                continue
            if snapshot.verdict.value != told:
                told = snapshot.verdict.value
                data = {"verdict": told, "reasons": list(snapshot.reasons[:10])}
                await self._record(EventKind.VERDICT_CHANGED, "; ".join(snapshot.reasons), data)

    # --- following -------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """Snapshots as they come, the newest only; the first at once."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="watch")
        seen = 0
        while True:
            async with self._news:
                while self._snapshot is None or self._composed == seen:
                    await self._news.wait()
                seen, snapshot = self._composed, self._snapshot
            yield snapshot

    async def _watch(self) -> None:
        """Compose when the store has changed, and now and then because time passes."""
        version, composed = -1, 0.0
        loop = asyncio.get_running_loop()
        while True:
            changed = False
            try:
                now_version = self.box.store.changes() + self.view.version
                changed = now_version != version
                if changed:
                    version = now_version
                    await asyncio.to_thread(self.view.refresh)
            except StoreError as error:
                self.view.trouble = f"the store cannot be read: {error}"
            if changed or loop.time() - composed >= REFRESH_S:
                composed = loop.time()
                snapshot = await asyncio.to_thread(self.view.compose)
                async with self._news:
                    self._snapshot, self._composed = snapshot, self._composed + 1
                    self._news.notify_all()
            await asyncio.sleep(FOLLOW_S)

    def feeds(self) -> dict[str, Callable[[Publish], Coroutine[Any, Any, None]]]:
        """One coroutine for each monitor, for the console's background workers."""
        return {name: self._feed(name) for name in self.monitors}

    def _feed(self, name: str) -> Callable[[Publish], Coroutine[Any, Any, None]]:
        async def attend(publish: Publish) -> None:
            """Run the monitor if this process holds the lease; publish its news either way."""
            async with asyncio.TaskGroup() as group:
                if self.holder:
                    group.create_task(self._run(name))
                    if name == "worker":
                        group.create_task(self.sentry.run())
                        group.create_task(self._tell_verdicts())
                shown = None
                async for snapshot in self.snapshots():
                    monitor = snapshot.monitor(name)
                    if name == "worker" or shown is None or monitor != shown:
                        shown = monitor
                        publish(snapshot)

        return attend

    # --- commands --------------------------------------------------------------------------

    async def submit(self, command: Command) -> Outcome:
        """Carry out a command as the peer that we are. Never raises for what may go wrong."""
        if command.verb is Verb.CANARY:
            return await actions.run_canary(self)
        if command.verb is Verb.BASELINE:
            return await asyncio.to_thread(actions.toggle_baseline, self.box, command.actor)
        if command.verb is Verb.START_DAEMON:
            return await asyncio.to_thread(actions.start_daemon, self.box, command.actor)
        outcome = await asyncio.to_thread(self.guard.carry_out, command)
        self.look_now("worker")
        return outcome
