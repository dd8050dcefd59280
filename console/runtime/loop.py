"""Runtime of the monitors: schedules probes, stores samples, repairs roles, publishes snapshots.

The process that holds the monitors' lease *runs* the monitors. Every other process *follows*: it
reads the data that the holder writes. A monitor that raises or hangs yields an unknown sample, and
affects no other monitor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from console.core.model.commands import Command, Outcome
from console.core.model.events import EventKind
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot, Verdict
from console.core.snapshot.builder import last_observed_roles
from console.monitors import Monitor, worker
from console.runtime import commands
from console.runtime.config_reload import ConfigReloader
from console.runtime.memory_sweep import sweep_memory
from console.runtime.monitoring.sample_collector import SampleCollector
from console.runtime.monitoring.schedule import seconds_until_due
from console.runtime.snapshots.store_view import StoreView
from console.runtime.supervision.stall_recorder import StallRecorder
from console.runtime.supervision.supervisor import Supervisor
from console.runtime.timers import EARLY_TOLERANCE_S, WakeupEvent, align_delay
from console.runtime.watchers.exit_watcher import ProcessExitWatcher
from console.runtime.watchers.store_watcher import StoreWatcher
from console.system.box import Box
from console.system.guard.guard import Guard
from console.system.processes.procfs import ProcessError

if TYPE_CHECKING:
    from console.runtime.supervision.verdict_recorder import VerdictRecorder

Publish = Callable[[Snapshot], None]

UNKNOWN = HealthState.UNKNOWN
MAX_SNAPSHOT_AGE_S = 2.0
"""A follower composes at least this often: ages change the verdict without new data."""
HEALTHY_INTERVAL_FACTOR = 3
"""Factor by which snapshots are composed less often while the verdict is healthy: only longer ages
change it then."""
DISABLED_MONITOR_WAIT_S = 3600.0
"""How long a disabled monitor waits. New settings end the wait; no other event enables it."""
START_STAGGER_S = 0.5
"""Delay between the starts of monitors, as several may be overdue."""
DAEMON_EXIT_RECHECK_DELAYS_S = (0.05, 0.1, 0.2, 0.4)
"""Delays between checks of the lease after the daemon has died: the lease is free only after the
shim has certified the death."""


class Runtime:
    """Runtime of the monitors of one box, in a process that runs or follows them."""

    def __init__(
        self,
        box: Box,
        monitors: Mapping[str, Monitor],
        is_holder: bool = False,
        initial_view: StoreView | None = None,
    ) -> None:
        self.box = box
        self.monitors = monitors
        self.is_holder = is_holder
        """True if this process holds the monitors' lease and runs them."""
        self._snapshot_published = asyncio.Event()
        """Set and replaced at each snapshot: a waiting task is woken once and needs no lock."""
        self._snapshot: Snapshot | None = None
        self._snapshot_count = 0
        self._snapshot_task: asyncio.Task[None] | None = None
        self._verdict_recorder: VerdictRecorder | None = None
        self._daemon_exit_rechecks: list[float] = []
        """Remaining delays until further snapshots, after the process that ran the monitors has
        died."""
        self.view = initial_view or StoreView(self.box, self.monitors, self.is_holder)
        """`initial_view`, if given, has already read the store."""
        self.collector = SampleCollector(self.box, self.monitors, self.view)
        self.guard = Guard(self.box)
        self.supervisor = Supervisor(
            self.box, self.guard, self.request_probe, self.view.last_event_id
        )
        self.stall_recorder = StallRecorder(self.box, self.supervisor, self.view.refresh)
        write_log = self.supervisor.log.write if self.is_holder else None
        self.config_reloader = ConfigReloader(
            self.box, self.view, self._on_settings_applied, write_log
        )
        self._store_watcher = StoreWatcher(self.view)
        self._wakeups: dict[str, WakeupEvent] = {name: WakeupEvent() for name in self.monitors}

    # --- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Run every monitor and the supervisor until cancelled: the daemon's main task."""
        async with asyncio.TaskGroup() as group:
            for name in self.monitors:
                group.create_task(self._run_monitor(name), name=name)
            self._start_holder_tasks(group)
            group.create_task(self.config_reloader.run(), name="configuration")

    def _on_settings_applied(self) -> None:
        """Wake every monitor: intervals, roles and enabled monitors may have changed."""
        for wakeup in self._wakeups.values():
            wakeup.shorten_wait(0.0)
        self.request_probe("worker")
        self._store_watcher.wake()

    def _start_holder_tasks(self, group: asyncio.TaskGroup) -> None:
        """Start the tasks that only the process that runs the monitors has."""
        # Imported here: a follower uses none of them, and should draw its screen at once.
        from console.runtime.daemon_duties import DaemonDuties
        from console.runtime.monitoring.first_task_poller import FirstTaskPoller
        from console.runtime.monitoring.post_repair_canary import PostRepairCanary
        from console.runtime.supervision.queue_loss_recorder import QueueLossRecorder
        from console.runtime.supervision.repair_troubles import TroubleReporter
        from console.runtime.supervision.verdict_recorder import VerdictRecorder

        group.create_task(self.supervisor.run(), name="supervisor")
        troubles = TroubleReporter(self.box, self.supervisor.log, self.view.set_troubles)
        group.create_task(troubles.run(), name="troubles")
        self._verdict_recorder = verdicts = VerdictRecorder(self.box, self.view)
        group.create_task(verdicts.run(self.snapshots()), name="verdicts")
        duties = DaemonDuties(self.box, self.view.refresh)
        group.create_task(
            duties.run(verdicts.settled_snapshots(self.snapshots())), name="daemon duties"
        )
        group.create_task(self.stall_recorder.run(self.snapshots()), name="stall recorder")
        poller = FirstTaskPoller(self.collector, self.request_probe)
        group.create_task(poller.run(self.snapshots()), name="first task poller")
        canary = PostRepairCanary(self.view, self.request_probe)
        group.create_task(canary.run(self.snapshots()), name="canary after repair")
        group.create_task(QueueLossRecorder(self.box).run(self.snapshots()), name="queue losses")

    async def _run_monitor(self, name: str) -> None:
        """Run one monitor for ever: wait until it is due, then probe, store and judge."""
        order = sorted(self.monitors, key=lambda other: (other != "worker", other))
        await asyncio.sleep(START_STAGGER_S * order.index(name))
        while True:
            while self.view.disabled_reason(name):
                await self._wakeups[name].wait(DISABLED_MONITOR_WAIT_S)
                self._wakeups[name].clear()
            await self._wait_until_due(name)
            if not self.view.disabled_reason(name):
                await self.collector.record_canary_start(name)
                await self.probe(name)

    async def _wait_until_due(self, name: str) -> None:
        wakeup, every_s = self._wakeups[name], self.monitors[name].every(self.box.settings)
        while not wakeup.is_triggered and (remaining_s := seconds_until_due(self.view, name)) > 0:
            # Alignment would lengthen an interval that is not a whole number of seconds.
            await wakeup.wait(remaining_s if every_s % 1 else align_delay(remaining_s))
        wakeup.clear()

    def request_probe(self, name: str) -> None:
        """Have a monitor probed at once. Ignores an unknown name."""
        if name in self._wakeups:
            self._wakeups[name].trigger()

    async def probe(self, name: str) -> Sample:
        """Probe one monitor, store its sample and judge it. Any error yields an unknown sample."""
        sample = await self.collector.collect(name)
        had_sample, old_health = self.view.last_sample(name) is not None, self.view.health(name)
        await self.collector.store_sample(sample)
        self._store_watcher.wake()
        if name == "worker":
            queue_health = (
                self.view.health("queue") if "queue" in self.monitors else Health(UNKNOWN)
            )
            await self.supervisor.handle_sample(sample, queue_health)
        new_health = self.view.health(name)
        if name == "queue" and (not had_sample or old_health.state is not new_health.state):
            self.supervisor.log.log_queue_health(new_health)
        if had_sample and old_health.state is not new_health.state:
            data = {"monitor": name, "state": new_health.state.value, "was": old_health.state.value}
            message = new_health.reason or new_health.state.value
            await self._record_event(EventKind.MONITOR_CHANGED, f"{name}: {message}", data)
        return sample

    async def _record_event(self, kind: EventKind, reason: str, data: Mapping[str, Any]) -> None:
        await asyncio.to_thread(
            self.box.record_or_queue, kind, actor="daemon", reason=reason, data=data
        )

    # --- following -------------------------------------------------------------------------

    async def snapshots(self) -> AsyncIterator[Snapshot]:
        """Yield snapshots as they are published, only the newest; the first one at once."""
        if self._snapshot_task is None:
            self._snapshot_task = asyncio.create_task(self._run_snapshot_loop(), name="snapshots")
        last_count = 0
        while True:
            while self._snapshot is None or self._snapshot_count == last_count:
                await self._snapshot_published.wait()
            last_count, snapshot = self._snapshot_count, self._snapshot
            yield snapshot

    async def _run_snapshot_loop(self) -> None:
        """Compose a snapshot when there is new data, and periodically as time passes."""
        version, composed_at = -1, float("-inf")
        loop = asyncio.get_running_loop()
        with contextlib.closing(ProcessExitWatcher(self._on_daemon_exit)) as exit_watcher:
            while True:
                if (
                    self._verdict_recorder is not None
                    and await self._verdict_recorder.record_clock_jump()
                ):
                    # The loop's timers stand still while the machine sleeps.
                    for wakeup in self._wakeups.values():
                        wakeup.shorten_wait(0.0)
                # The wait may have ended up to EARLY_TOLERANCE_S early.
                age_s, has_changes = (
                    loop.time() + EARLY_TOLERANCE_S - composed_at,
                    self._store_watcher.has_unread_changes,
                )
                if (
                    has_changes
                    or self.view.version != version
                    or self._daemon_exit_rechecks
                    or self._is_stale(age_s, exit_watcher.is_watching)
                ):
                    composed_at, age_s = loop.time(), 0.0
                    # Composing from memory costs less than a call into a thread.
                    is_cheap = not has_changes and self._monitors_running
                    try:
                        result = (
                            self._refresh_and_compose()
                            if is_cheap
                            else await asyncio.to_thread(self._refresh_and_compose)
                        )
                        version, snapshot = result
                    except Exception as error:  # one bad record must not block all later snapshots
                        self.view.read_error = f"cannot compose: {type(error).__name__}: {error}"
                    else:
                        self._publish(snapshot)
                        exit_watcher.watch(None if self.is_holder else snapshot.daemon.pid)
                recheck_s = (
                    self._daemon_exit_rechecks.pop(0)
                    if self._daemon_exit_rechecks
                    else MAX_SNAPSHOT_AGE_S * HEALTHY_INTERVAL_FACTOR
                )
                interval_s = self._poll_interval_s(exit_watcher.is_watching)
                poll_s = align_delay(interval_s - age_s % interval_s)
                await self._store_watcher.wait_for_change(min(recheck_s, poll_s))

    def _is_stale(self, age_s: float, exit_watched: bool = False) -> bool:
        """Return True if a snapshot of this age may be wrong although the store has no new data.

        `exit_watched`: True if the exit of the process that runs the monitors would be reported.
        """
        snapshot = self._snapshot
        if (
            age_s < MAX_SNAPSHOT_AGE_S
            or snapshot is None
            or snapshot.verdict is not Verdict.HEALTHY
        ):
            return age_s >= MAX_SNAPSHOT_AGE_S
        # The store does not show that the process that ran the monitors has died. Unless its exit
        # is watched, the lease is read, which costs as much as everything else here.
        exit_known = self.is_holder or exit_watched or self.view.daemon_view().running
        return age_s >= HEALTHY_INTERVAL_FACTOR * MAX_SNAPSHOT_AGE_S or not exit_known

    def _poll_interval_s(self, exit_watched: bool) -> float:
        """Return the seconds between checks whether the last snapshot is stale."""
        snapshot = self._snapshot
        is_healthy = snapshot is not None and snapshot.verdict is Verdict.HEALTHY
        # The holder also checks the clocks, to detect that the machine has slept.
        return (
            HEALTHY_INTERVAL_FACTOR * MAX_SNAPSHOT_AGE_S
            if is_healthy and exit_watched and not self.is_holder
            else MAX_SNAPSHOT_AGE_S
        )

    def _on_daemon_exit(self) -> None:
        self._daemon_exit_rechecks = [*DAEMON_EXIT_RECHECK_DELAYS_S]
        self._store_watcher.wake()

    @property
    def _monitors_running(self) -> bool:
        """True if a process is known to run the monitors: composing then needs no observation.

        False while a baseline run is in progress: its figures are computed from hours of samples.
        """
        snapshot = self._snapshot
        if snapshot is None or snapshot.baseline.state == "collecting":
            return False
        return self.is_holder or snapshot.daemon.running

    def _refresh_and_compose(self) -> tuple[int, Snapshot]:
        """Read what is new in the store. Return the view's version and a snapshot of now.

        Observes the process table if no process runs the monitors or the store cannot be written.
        """
        self._store_watcher.refresh_view()
        version = self.view.version
        self.view.observed_roles, daemon = None, self.view.daemon_view()
        # While the store cannot be written, it lacks the daemon's samples.
        if not self.is_holder and (not daemon.running or self.view.unwritable_reason()):
            with contextlib.suppress(ProcessError):
                self.view.observed_roles = last_observed_roles([worker.take_sample(self.box)])
        return version, self.view.compose(daemon)

    def _publish(self, snapshot: Snapshot) -> None:
        self._snapshot, self._snapshot_count = snapshot, self._snapshot_count + 1
        published, self._snapshot_published = self._snapshot_published, asyncio.Event()
        published.set()

    def feeds(self) -> dict[str, Callable[[Publish], Coroutine[Any, Any, None]]]:
        """Return one coroutine function for each monitor, for the console's background workers."""
        return {name: self._make_feed(name) for name in self.monitors}

    def _make_feed(self, name: str) -> Callable[[Publish], Coroutine[Any, Any, None]]:
        async def attend(publish: Publish) -> None:
            """Run the monitor if this process holds the lease, and publish its snapshots.

            Publishes the snapshots in which the monitor has changed; for `worker`, every snapshot.
            """
            async with asyncio.TaskGroup() as group:
                if name == "worker":
                    group.create_task(sweep_memory(), name="sweep")
                    group.create_task(self.config_reloader.run(), name="configuration")
                    if self.is_holder:
                        self._start_holder_tasks(group)
                if self.is_holder:
                    group.create_task(self._run_monitor(name))
                published_view = None
                async for snapshot in self.snapshots():
                    monitor = snapshot.monitor(name)
                    if name == "worker" or published_view is None or monitor != published_view:
                        published_view = monitor
                        publish(snapshot)

        return attend

    # --- commands --------------------------------------------------------------------------

    async def submit(self, command: Command) -> Outcome:
        """Carry out a command, and have the worker monitor probed.

        Expected errors do not raise: the outcome states them.
        """
        outcome = await commands.carry_out(self, command)
        self.request_probe("worker")
        return outcome
