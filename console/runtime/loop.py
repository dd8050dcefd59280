"""The only loop: asks the monitors when they are due, stores, judges, acts by policy, publishes.

The same runtime serves two peers. The one that holds the box's monitors' lease *runs* them; every
other one *follows* what the holder writes. A monitor that raises or hangs becomes an unknown
sample and takes nobody along.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from console.core.frozen import slotted
from console.core.model import (
    Command,
    EventKind,
    Health,
    HealthState,
    Outcome,
    Sample,
    Snapshot,
    Verdict,
)
from console.core.snapshot.builder import last_seen
from console.monitors import Monitor, worker
from console.runtime import commands
from console.runtime.config_reload import Reloading
from console.runtime.memory_sweep import sweep
from console.runtime.monitoring.sample_collector import Prober
from console.runtime.monitoring.schedule import left_s
from console.runtime.snapshots.store_view import View
from console.runtime.supervision.stall_recorder import Stalling
from console.runtime.supervision.supervisor import Sentry
from console.runtime.timers import EARLY_S, Bell, on_the_second
from console.runtime.watchers.exit_watcher import Deathwatch
from console.runtime.watchers.store_watcher import Following
from console.system.box import Box
from console.system.guard.guard import Guard
from console.system.processes.procfs import ProcessError

if TYPE_CHECKING:
    from console.runtime.supervision.verdict_recorder import Settling

Publish = Callable[[Snapshot], None]

UNKNOWN = HealthState.UNKNOWN
REFRESH_S = 2.0
"""At least this often a follower composes anew: ages turn into verdicts without any news."""
CALM = 3
"""So many times as seldom while all is well: what is healthy now is judged by longer ages."""
OFF_S = 3600.0
"""A monitor that is switched off waits for other settings; nothing else happens."""
STAGGER_S = 0.5
"""Monitors that are late together start this far apart."""
BEREFT_S = (0.05, 0.1, 0.2, 0.4)
"""The dead daemon's lease is free once its shim has certified the death."""


@slotted
class Runtime:
    """The monitors of one box, run or followed."""

    box: Box
    monitors: Mapping[str, Monitor]
    holder: bool = False
    """Whether this process holds the lease and runs them."""
    known: View | None = None
    """What has been read of the box already."""
    view: View = field(init=False)
    prober: Prober = field(init=False)
    guard: Guard = field(init=False)
    sentry: Sentry = field(init=False)
    stalling: Stalling = field(init=False)
    reloading: Reloading = field(init=False)
    _wakes: dict[str, Bell] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    """Another one for each snapshot: who waits is woken once, and asks nobody for a lock."""
    _snapshot: Snapshot | None = None
    _composed: int = 0
    _watching: asyncio.Task[None] | None = None
    _following: Following = field(init=False)
    _settling: Settling | None = None
    _bereft: list[float] = field(default_factory=list)
    """The pauses until we compose again, as whoever ran the monitors has died."""

    def __post_init__(self) -> None:
        self.view = self.known or View(self.box, self.monitors, self.holder)
        self.prober = Prober(self.box, self.monitors, self.view)
        self.guard = Guard(self.box)
        self.sentry = Sentry(self.box, self.guard, self.look_now, self.view.newest)
        self.stalling = Stalling(self.box, self.sentry, self.view.refresh)
        log = self.sentry.log.line if self.holder else None
        self.reloading = Reloading(self.box, self.view, self._retime, log)
        self._following = Following(self.view)
        self._wakes = {name: Bell() for name in self.monitors}

    # --- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Run every monitor and the sentry until cancelled: the daemon's whole work."""
        async with asyncio.TaskGroup() as group:
            for name in self.monitors:
                group.create_task(self._run(name), name=name)
            self._act(group)
            group.create_task(self.reloading.run(), name="configuration")

    def _retime(self) -> None:
        """Other settings are in force: intervals, roles and what is switched on are others."""
        for wake in self._wakes.values():
            wake.hasten(0.0)
        self.look_now("worker")
        self._following.stir()

    def _act(self, group: asyncio.TaskGroup) -> None:
        """What whoever runs the monitors does with what they see."""
        # Who follows acts on nothing, and is to be on the screen at once.
        from console.runtime.daemon_duties import Night
        from console.runtime.monitoring.first_task_poller import FirstWork
        from console.runtime.monitoring.post_repair_canary import Repaired
        from console.runtime.supervision.queue_loss_recorder import Losses
        from console.runtime.supervision.repair_troubles import Troubles
        from console.runtime.supervision.verdict_recorder import Settling

        group.create_task(self.sentry.run(), name="sentry")
        troubles = Troubles(self.box, self.sentry.log, self.view.trouble)
        group.create_task(troubles.run(), name="troubles")
        self._settling = settling = Settling(self.box, self.view)
        group.create_task(settling.run(self.snapshots()), name="verdicts")
        night = Night(self.box, self.view.refresh)
        group.create_task(night.run(settling.news(self.snapshots())), name="night")
        group.create_task(self.stalling.run(self.snapshots()), name="stalling")
        first_work = FirstWork(self.prober, self.look_now)
        group.create_task(first_work.run(self.snapshots()), name="first work")
        repaired = Repaired(self.view, self.look_now)
        group.create_task(repaired.run(self.snapshots()), name="repaired")
        group.create_task(Losses(self.box).run(self.snapshots()), name="losses")

    async def _run(self, name: str) -> None:
        """One monitor, for ever: wait until it is due, probe, keep, judge."""
        order = sorted(self.monitors, key=lambda one: (one != "worker", one))
        await asyncio.sleep(STAGGER_S * order.index(name))
        while True:
            while self.view.off(name):
                await self._wakes[name].wait(OFF_S)  # other settings may switch it on
                self._wakes[name].heard()
            await self._until_due(name)
            if not self.view.off(name):
                await self.prober.begin(name)
                await self.probe(name)

    async def _until_due(self, name: str) -> None:
        wake, every_s = self._wakes[name], self.monitors[name].every(self.box.settings)
        while not wake.rung and (left := left_s(self.view, name)) > 0:
            # An interval that is no whole number would become a longer one.
            await wake.wait(left if every_s % 1 else on_the_second(left))
        wake.heard()

    def look_now(self, name: str) -> None:
        """Have a monitor look at once."""
        if name in self._wakes:
            self._wakes[name].ring()

    async def probe(self, name: str) -> Sample:
        """One look by one monitor, kept and judged. Whatever goes wrong is an unknown sample."""
        sample = await self.prober.ask(name)
        looked, before = self.view.last(name) is not None, self.view.health(name)
        await self.prober.keep(sample)
        self._following.stir()
        if name == "worker":
            server = self.view.health("queue") if "queue" in self.monitors else Health(UNKNOWN)
            await self.sentry.seen(sample, server)
        after = self.view.health(name)
        if name == "queue" and (not looked or before.state is not after.state):
            self.sentry.log.server(after)
        if looked and before.state is not after.state:
            data = {"monitor": name, "state": after.state.value, "was": before.state.value}
            found = after.reason or after.state.value
            await self._record(EventKind.MONITOR_CHANGED, f"{name}: {found}", data)
        return sample

    async def _record(self, kind: EventKind, reason: str, data: Mapping[str, Any]) -> None:
        await asyncio.to_thread(self.box.tell, kind, "", "daemon", reason, None, None, data)

    # --- following -------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """Snapshots as they come, the newest only; the first at once."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="watch")
        seen = 0
        while True:
            while self._snapshot is None or self._composed == seen:
                await self._news.wait()
            seen, snapshot = self._composed, self._snapshot
            yield snapshot

    async def _watch(self) -> None:
        """Compose when there is news, and now and then because time passes."""
        version, composed = -1, float("-inf")
        loop = asyncio.get_running_loop()
        with contextlib.closing(Deathwatch(self._bereave)) as deathwatch:
            while True:
                if self._settling is not None and await self._settling.heed_the_clocks():
                    for wake in self._wakes.values():  # while the machine sleeps, no wait goes on
                        wake.hasten(0.0)
                # The wait may have ended a little too early.
                stood_s, behind = loop.time() + EARLY_S - composed, self._following.behind
                if (
                    behind
                    or self.view.version != version
                    or self._bereft
                    or self._outlived(stood_s, deathwatch.listens)
                ):
                    composed, stood_s = loop.time(), 0.0
                    # To compose what has been read costs less than to call a thread.
                    brief = not behind and self._watched
                    try:
                        done = self._read_on() if brief else await asyncio.to_thread(self._read_on)
                        version, snapshot = done
                    except Exception as error:  # one bad record must not still the picture for ever
                        self.view.unread = f"cannot compose: {type(error).__name__}: {error}"
                    else:
                        self._publish(snapshot)
                        deathwatch.over(None if self.holder else snapshot.daemon.pid)
                soon_s = self._bereft.pop(0) if self._bereft else REFRESH_S * CALM
                every_s = self._asks_every_s(deathwatch.listens)
                asks_s = on_the_second(every_s - stood_s % every_s)
                await self._following.change(min(soon_s, asks_s))

    def _outlived(self, stood_s: float, heard: bool = False) -> bool:
        """Whether what was composed so long ago may not be true any more, though nothing is new.

        `heard`: whether the death of who runs the monitors would be.
        """
        known = self._snapshot
        if stood_s < REFRESH_S or known is None or known.verdict is not Verdict.HEALTHY:
            return stood_s >= REFRESH_S
        # That nobody runs the monitors any more is written nowhere; where it is not heard either,
        # who holds the lease is looked up, which costs as much as all else here.
        watched = self.holder or heard or self.view.daemon().running
        return stood_s >= CALM * REFRESH_S or not watched

    def _asks_every_s(self, heard: bool) -> float:
        """How often it is worth asking whether what was composed has outlived itself."""
        known = self._snapshot
        calm = known is not None and known.verdict is Verdict.HEALTHY
        # Whoever runs the monitors asks the clocks, too, whether the machine has slept.
        return CALM * REFRESH_S if calm and heard and not self.holder else REFRESH_S

    def _bereave(self) -> None:
        self._bereft = [*BEREFT_S]
        self._following.stir()

    @property
    def _watched(self) -> bool:
        """Whether somebody runs the monitors, as far as we know: then we need not look.

        Unless a baseline is collected: its figures are of hours of looks.
        """
        known = self._snapshot
        if known is None or known.baseline.state == "collecting":
            return False
        return self.holder or known.daemon.running

    def _read_on(self) -> tuple[int, Snapshot]:
        """The view's version, read on as far as the store is, and the snapshot of now.

        Where nobody runs the monitors, we look at the processes.
        """
        self._following.catch_up()
        version = self.view.version
        self.view.seen, daemon = None, self.view.daemon()
        # What the daemon sees is not in the store while that cannot be written.
        if not self.holder and (not daemon.running or self.view.unwritable()):
            with contextlib.suppress(ProcessError):
                self.view.seen = last_seen([worker.look(self.box)])
        return version, self.view.compose(daemon)

    def _publish(self, snapshot: Snapshot) -> None:
        self._snapshot, self._composed = snapshot, self._composed + 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    def feeds(self) -> dict[str, Callable[[Publish], Coroutine[Any, Any, None]]]:
        """One coroutine for each monitor, for the console's background workers."""
        return {name: self._feed(name) for name in self.monitors}

    def _feed(self, name: str) -> Callable[[Publish], Coroutine[Any, Any, None]]:
        async def attend(publish: Publish) -> None:
            """Run the monitor if this process holds the lease; publish its news either way."""
            async with asyncio.TaskGroup() as group:
                if name == "worker":
                    group.create_task(sweep(), name="sweep")
                    group.create_task(self.reloading.run(), name="configuration")
                    if self.holder:
                        self._act(group)
                if self.holder:
                    group.create_task(self._run(name))
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
        outcome = await commands.carry_out(self, command)
        self.look_now("worker")
        return outcome
