"""Keeps the data of a box's store in memory, and composes it into snapshots."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping

from console import __version__
from console.core import alerts
from console.core.model.events import Event, EventKind
from console.core.model.roles import LeaseState
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import Alert, BaselineView, DaemonView, Trouble
from console.core.records import replace
from console.core.snapshot.builder import (
    MAX_SNAPSHOT_EVENTS,
    MonitorInputs,
    SnapshotInputs,
    build_snapshot,
)
from console.core.supervision.role_codec import RoleObservation
from console.core.text.command_hint import format_command
from console.core.text.formatting import format_duration
from console.monitors import Monitor
from console.runtime.baseline.facts import LAST_RUN_FACT, RUN_FACT
from console.runtime.daemon_facts import DAEMON_FACT, parse_daemon_fact
from console.runtime.snapshots.ledger_digest import LedgerDigest
from console.runtime.snapshots.notices import build_notices, disk_full_reason
from console.runtime.snapshots.sample_history import SampleHistory, history_length_s
from console.system import daemon_role
from console.system.box import Box
from console.system.config.schema import Settings
from console.system.host.resource_pressure import ResourcePressure
from console.system.locks import lease
from console.system.locks.ofd_lock import HeldLock, is_same_file

HISTORY_S = 8 * 3600.0
MAX_EVENTS = 2_000
"""Events kept in memory: a baseline is evaluated from more events than are shown."""
MAX_ALERT_EVENTS = 10_000
PROBE_TIMEOUT_S = 30.0
CANARY = "canary"
"""Fact of the store: when the first canary was sent."""


class StoreView:
    """Samples and events of a box in memory. A refresh reads only new data."""

    def __init__(
        self,
        box: Box,
        monitors: Mapping[str, Monitor],
        monitors_run_in_console: bool = False,
        lease_lock: HeldLock | None = None,
        history_s: float = HISTORY_S,
        sample_limits: Mapping[str, int] | None = None,
        event_limit: int = MAX_SNAPSHOT_EVENTS,
    ) -> None:
        self.box = box
        self.monitors = monitors
        self.monitors_run_in_console = monitors_run_in_console
        """True if this process runs the monitors and is a console."""
        self.lease_lock = lease_lock
        """The monitors' lease if this process holds it. It is valid while its path names the locked
        file."""
        self.history_s = history_s
        self.sample_limits = {} if sample_limits is None else sample_limits
        """Monitor -> how many of its samples are read, if few are enough."""
        self.event_limit = event_limit
        """How many of the newest events are read at first: those that are shown."""
        self.read_error: str | None = None
        """Why the store cannot be read, as shown on the screen."""
        self.unsaved_reason: str | None = None
        """Number of samples that are not in the store, and why they could not be written."""
        self.version = 0
        """Increases with each change of the data."""
        self.read_change_counter = -1
        """The value of `Store.change_counter` up to which the store was read."""
        self.troubles: tuple[Trouble, ...] | None = None
        """Troubles that this process, as the daemon, reports of its own work."""
        self.observed_roles: Mapping[str, RoleObservation] | None = None
        """This process's own observation, for a command that does not rely on a daemon."""
        self._histories: dict[str, SampleHistory] = {}
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._last_sample_id = -1
        self._last_event_id = 0
        self._last_verdict_event: Event | None = None
        """The last change of the verdict, regardless of its age."""
        self._digest_event_id = 0
        """Id of the last event that the digest had read when it was loaded."""
        self._store_generation = 0
        self._facts: dict[str, object] = {}
        self._open_alerts: tuple[Alert, ...] = ()
        self._lock = threading.Lock()
        self._pressure = ResourcePressure()
        self._digest = LedgerDigest(self.box)

    def refresh(self) -> None:
        """Read what is new. Raises StoreError."""
        with self._lock:
            store = self.box.store
            state = store.change_counter()  # read first: later writes are read again
            if state == self.read_change_counter and self._last_sample_id >= 0:
                self.read_error = None
                return  # no write since
            facts = store.get_facts(RUN_FACT, LAST_RUN_FACT, CANARY, DAEMON_FACT)
            if store.generation != self._store_generation:
                self._reset()
            is_first = self._last_sample_id < 0
            if is_first:
                self._load(facts[RUN_FACT])
            samples = store.samples_after(self._last_sample_id)
            # A baseline run is evaluated from the event log.
            limit = self.event_limit if is_first and not facts[RUN_FACT] else MAX_EVENTS
            events = store.events(self._last_event_id, limit=limit)
            self._digest.add_events(event for event in events if event.id > self._digest_event_id)
            for sample in samples:
                self._history(sample.monitor).append(sample)
                self._last_sample_id = sample.id
            self._events.extend(events)
            changes = [event for event in events if event.kind is EventKind.VERDICT_CHANGED]
            self._last_verdict_event = changes[-1] if changes else self._last_verdict_event
            self._last_event_id = events[-1].id if events else self._last_event_id
            now = self.box.now()
            length_s = history_length_s(facts[RUN_FACT], self.history_s, now)
            for history in self._histories.values():
                history.prune(now, length_s)
            self._open_alerts = alerts.fold_open_alerts(events, self._open_alerts)
            if samples or events or facts != self._facts:
                self._facts, self.version = facts, self.version + 1
            self.read_error, self.read_change_counter = None, state

    def _load(self, run: object) -> None:
        """Read the past: as much as is evaluated, and at least each monitor's last sample."""
        store = self.box.store
        self._last_sample_id, now = store.last_sample_id(), self.box.now()
        newest = store.events(limit=1)
        self._digest_event_id = newest[-1].id if newest else 0
        self._digest.load(self._digest_event_id)
        # An alert can be open for longer than events are kept in memory.
        self._open_alerts = alerts.fold_open_alerts(
            store.events(kinds=alerts.ALERT_KINDS, limit=MAX_ALERT_EVENTS)
        )
        changes = store.events(kinds=(EventKind.VERDICT_CHANGED,), limit=1)
        self._last_verdict_event = changes[-1] if changes else None
        since = now.plus(-history_length_s(run, self.history_s, now))
        for name in self.monitors:
            limit, history = self.sample_limits.get(name), self._history(name)
            samples = (
                store.samples(name, since, limit) if limit else store.iter_samples(name, since)
            )
            history.extend(sample for sample in samples if sample.id <= self._last_sample_id)
            if history.last is None:
                history.extend(store.samples(name, limit=1))
        self.version += 1

    def _reset(self) -> None:
        self._store_generation, self._last_sample_id, self._last_event_id = (
            self.box.store.generation,
            -1,
            0,
        )
        self._histories.clear()
        self._events.clear()
        self._open_alerts = ()

    def invalidate(self) -> None:
        """Read everything again at the next refresh: the store now has the unsaved samples."""
        with self._lock:
            self._reset()

    def reconfigure(self, settings: Settings) -> None:
        """Apply other settings, and read the histories of new roles from the event log."""
        with self._lock:
            self.box.reconfigure(settings)
            self._digest.reconfigure(self._last_event_id)
            self.version += 1

    def set_troubles(self, troubles: tuple[Trouble, ...]) -> None:
        """Set the troubles that this process, as the daemon, reports of its own work."""
        if troubles != self.troubles:
            self.troubles = troubles
            self.version += 1

    def add_unsaved(self, sample: Sample) -> None:
        """Add a sample that is not in the store."""
        with self._lock:
            self._history(sample.monitor).append(sample)
            self.version += 1

    def _history(self, name: str) -> SampleHistory:
        return self._histories.setdefault(name, SampleHistory(name))

    def last_event_id(self) -> int:
        """Return the id of the last event that was read."""
        return self._last_event_id

    def last_sample(self, name: str) -> Sample | None:
        """Return a monitor's newest sample; None if there is none."""
        with self._lock:
            return self._history(name).last

    def health(self, name: str) -> Health:
        """Return the health that a monitor judges from its own samples."""
        with self._lock:
            history = list(self._history(name))
        return self._judge(name, history, self.box.now())

    def disabled_reason(self, name: str) -> str | None:
        """Return why a monitor does not run; None if it does."""
        if self.lease_lost_reason():
            return "the monitors' lease is lost"
        if not self.monitors[name].enabled(self.box.settings):
            return "switched off"
        limit_s = self.box.settings.monitors.canary.for_s
        start = self._facts.get(CANARY)
        if name != CANARY or limit_s is None or not isinstance(start, dict):
            return None
        ran = start.get("for_s") == limit_s and self.box.now().since(Moment(*start["began"]))
        return f"has run for {format_duration(limit_s)}, as configured" if ran >= limit_s else None

    def last_verdict(self) -> str | None:
        """Return the verdict that the event log has recorded last; None if there is none."""
        event = self._last_verdict_event
        return str(event.data.get("verdict")) if event is not None else None

    # --- composing -------------------------------------------------------------------------

    def compose(self, daemon: DaemonView | None = None) -> Snapshot:
        """Return the snapshot of this moment.

        `daemon`: the process that runs the monitors; if None, it is read from the lease.
        """
        with self._lock:
            now = self.box.now()
            histories = {name: list(self._history(name)) for name in self.monitors}
            events, open_alerts = list(self._events), self._open_alerts
            roles = self.box.roles
            role_histories, queue_metrics = (
                dict(self._digest.role_histories),
                self._digest.queue_metrics(histories),
            )
            baseline = self._baseline_view(histories, events, now)
        unwritable = self.unwritable_reason()
        snapshot = build_snapshot(
            SnapshotInputs(
                host=self.box.host,
                box=self.box.settings.screen.box or self.box.name,
                queue_url=self.box.settings.queue.address,
                roles=roles,
                monitors={
                    monitor: self.monitor_facts(monitor, histories[monitor], now)
                    for monitor in self.monitors
                },
                events=events,
                last_verdict_event=self._last_verdict_event,
                observed_roles=self.observed_roles,
                daemon=_with_state_trouble(daemon or self.daemon_view(), unwritable),
                open_alerts=open_alerts,
                baseline=baseline,
                role_histories=role_histories,
                queue_metrics=queue_metrics,
            ),
            now,
        )
        errors = dict.fromkeys(
            filter(
                None,
                (unwritable, self.read_error, self.unsaved_reason, self._digest.thresholds_error),
            )
        )
        directory = self.box.outside_directory if self.box.settings.outputs else None
        warnings = self._pressure.read_warnings(self.box.paths.state, directory)
        notices = dict.fromkeys((*errors, *warnings, *build_notices(self.box, snapshot)))
        return replace(snapshot, notices=tuple(notices), unwritable_reason=unwritable)

    def unwritable_reason(self) -> str:
        """Return why the state cannot be written; empty if it can."""
        return (
            self.box.store.fallback_reason
            or disk_full_reason(self.box)
            or self.unsaved_reason
            or ""
        )

    def monitor_facts(self, name: str, history: list[Sample], now: Moment) -> MonitorInputs:
        """Return the inputs to a snapshot from one monitor."""
        monitor = self.monitors[name]
        last = history[-1] if history else None
        return MonitorInputs(
            name=name,
            every_s=monitor.every(self.box.settings),
            history=history,
            health=self._judge(name, history, now),
            result=self._result(monitor, last),
            timeout_s=self.timeout_s(name),
        )

    def timeout_s(self, name: str) -> float:
        """Return the seconds after which a monitor's probe is given up."""
        deadline_s = self.box.settings.monitors.canary.deadline_s
        return deadline_s + PROBE_TIMEOUT_S if name == CANARY else PROBE_TIMEOUT_S

    def _result(self, monitor: Monitor, last: Sample | None) -> str:
        if last is None or last.error is not None:
            return ""
        try:
            return monitor.result(last)
        except Exception as error:
            return f"cannot be told: {type(error).__name__}: {error}"

    def _judge(self, name: str, history: list[Sample], now: Moment) -> Health:
        if reason := self.disabled_reason(name):
            return Health(HealthState.OFF, reason)
        try:
            return self.monitors[name].judge(
                history, now, self.box.settings, self._digest.learned_thresholds()
            )
        except Exception as error:
            return Health(HealthState.UNKNOWN, f"cannot judge: {type(error).__name__}: {error}")

    def daemon_view(self) -> DaemonView:
        """Return the process that runs the monitors, or the reason why there is none."""
        paths = self.box.paths
        daemon_lease = lease.read_lease(
            paths.lease(daemon_role.ROLE_NAME), paths.owner(daemon_role.ROLE_NAME)
        )
        # With a reason, a shim holds the lock: its owner is dead or not started yet.
        if (
            daemon_lease.state is LeaseState.HELD
            and daemon_lease.owner is not None
            and not daemon_lease.reason
        ):
            owner, heartbeat = daemon_lease.owner, daemon_role.read_heartbeat(paths)
            # An older heartbeat was written by the previous daemon.
            last_seen = (
                heartbeat if heartbeat is not None and owner.since.since(heartbeat) <= 0 else None
            )
            in_this_process = self.monitors_run_in_console and not self.lease_lost_reason()
            pid = owner.identity.pid
            version, troubles = parse_daemon_fact(self._facts.get(DAEMON_FACT), pid)
            if self.troubles is not None:
                version, troubles = __version__, self.troubles
            if pid != os.getpid() and daemon_role.is_stopped(pid):
                message = f"the monitors' daemon (PID {pid}) is stopped (SIGSTOP): kill -CONT {pid}"
                troubles = (Trouble("stopped", message), *troubles)
            return DaemonView(
                True, pid, owner.since, in_this_process, last_seen, "", version, troubles
            )
        reason = f"the monitors' daemon is not running (start it: {format_command('daemon start')})"
        if daemon_lease.state is not LeaseState.FREE:
            reason = f"the monitors' lease is {daemon_lease.state}: {daemon_lease.reason}"
        if lost := self.lease_lost_reason():
            return DaemonView(reason=lost)
        return DaemonView(in_this_process=self.monitors_run_in_console, reason=reason)

    def lease_lost_reason(self) -> str:
        """Return why this process has lost the monitors' lease; empty if it has not."""
        if self.lease_lock is None or is_same_file(
            self.lease_lock.descriptor, self.lease_lock.path
        ):
            return ""
        state = self.box.paths.state
        return f"{state}: was removed or replaced; leave this console and start it again"

    def _baseline_view(
        self, histories: Mapping[str, list[Sample]], events: list[Event], now: Moment
    ) -> BaselineView:
        run, last = self._facts.get(RUN_FACT), self._facts.get(LAST_RUN_FACT)
        return self._digest.baseline(run, last, histories, events, self.version, now)


def _with_state_trouble(daemon: DaemonView, unwritable: str) -> DaemonView:
    """Return the daemon with an unwritable state as the first of its troubles."""
    if not unwritable:
        return daemon
    return replace(daemon, troubles=(Trouble("state", unwritable), *daemon.troubles))
