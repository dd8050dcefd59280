"""What the store says of a box, kept up to date cheaply and composed into snapshots."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from console.core.baseline import BaselineTargets, baseline
from console.core.model import (
    BaselineView,
    DaemonView,
    Event,
    EventKind,
    Health,
    HealthState,
    LeaseState,
    Moment,
    Sample,
    Snapshot,
)
from console.core.record import Seen
from console.core.snapshot import Facts, MonitorFacts, compose
from console.monitors import Monitor
from console.system import daemon, lease
from console.system.box import Box
from console.system.files import FileError, read_json

HISTORY_S = 8 * 3600.0
KEPT = 6_000
"""Samples kept in memory of each monitor."""
EVENTS = 2_000


@dataclass(slots=True)
class View:
    """Histories and ledger in memory, refreshed by what is new only."""

    box: Box
    monitors: Mapping[str, Monitor]
    here: bool = False
    """This process runs the monitors."""
    history_s: float = HISTORY_S
    trouble: str | None = None
    """What is wrong with the store, for the screen."""
    version: int = 0
    """Rises with what this process itself has learnt."""
    seen: Mapping[str, Seen] | None = None
    """A look of our own, for a command that does not rely on a daemon."""
    _samples: dict[str, deque[Sample]] = field(default_factory=dict)
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))
    _last_sample: int = -1
    _last_event: int = 0
    _baseline: object = None
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> None:
        """Read what is new. Raises StoreError."""
        with self._guard:
            store = self.box.store
            if self._last_sample < 0:
                self._last_sample = store.newest_sample_id()
                since = self.box.now().at - self.history_s
                for name in self.monitors:
                    self._history(name).extend(store.samples(name, since, KEPT))
            for sample in store.samples_after(self._last_sample):
                self._history(sample.monitor).append(sample)
                self._last_sample = sample.id
            for event in store.events(self._last_event, limit=EVENTS):
                self._events.append(event)
                self._last_event = event.id
            self._baseline = store.get("baseline")
            self.version += 1

    def keep(self, sample: Sample) -> None:
        """Remember what the store could not take."""
        with self._guard:
            self._history(sample.monitor).append(sample)
            self.version += 1

    def _history(self, name: str) -> deque[Sample]:
        return self._samples.setdefault(name, deque(maxlen=KEPT))

    def last(self, name: str) -> Sample | None:
        """A monitor's newest sample."""
        history = self._history(name)
        return history[-1] if history else None

    def health(self, name: str) -> Health:
        """What a monitor makes of its own history."""
        return self._judge(self.monitors[name], list(self._history(name)), self.box.now())

    def last_verdict(self) -> str | None:
        """The verdict that the ledger knows."""
        for event in reversed(self._events):
            if event.kind is EventKind.VERDICT_CHANGED:
                return str(event.data.get("verdict"))
        return None

    # --- composing -------------------------------------------------------------------------

    def compose(self) -> Snapshot:
        """The snapshot of this moment."""
        with self._guard:
            now = self.box.now()
            histories = {name: list(self._history(name)) for name in self.monitors}
            events = list(self._events)
        settings = self.box.settings
        return compose(
            Facts(
                host=self.box.host,
                box=self.box.name,
                queue_url=settings.queue.url,
                roles=self.box.roles,
                monitors={n: self._facts(n, histories[n], now) for n in self.monitors},
                events=events,
                seen=self.seen,
                daemon=self.daemon(),
                baseline=self._baseline_view(histories, events, now),
                notices=self._notices(),
            ),
            now,
        )

    def _facts(self, name: str, history: list[Sample], now: Moment) -> MonitorFacts:
        monitor = self.monitors[name]
        last = history[-1] if history else None
        return MonitorFacts(
            name=name,
            every_s=monitor.every(self.box.settings),
            history=history,
            health=self._judge(monitor, history, now),
            result=monitor.result(last) if last is not None and last.error is None else "",
            timeout_s=30.0,
        )

    def _judge(self, monitor: Monitor, history: list[Sample], now: Moment) -> Health:
        if not monitor.enabled(self.box.settings):
            return Health(HealthState.OFF, "switched off")
        try:
            return monitor.judge(history, now, self.box.settings)
        except Exception as error:
            return Health(HealthState.UNKNOWN, f"cannot judge: {type(error).__name__}: {error}")

    def daemon(self) -> DaemonView:
        """Who runs the monitors."""
        paths = self.box.paths
        held = lease.look(paths.lease(daemon.NAME), paths.owner(daemon.NAME))
        if held.state is LeaseState.HELD and held.owner is not None:
            owner, beat = held.owner, daemon.heartbeat(paths)
            seen = Moment(beat) if beat is not None else None
            return DaemonView(True, owner.identity.pid, owner.since, self.here, seen)
        reason = "the monitors' daemon is not running (start it: rpa-console daemon start)"
        if held.state is not LeaseState.FREE:
            reason = f"the monitors' lease is {held.state}: {held.reason}"
        return DaemonView(here=self.here, reason=reason)

    def _baseline_view(
        self, histories: Mapping[str, list[Sample]], events: list[Event], now: Moment
    ) -> BaselineView:
        run = self._baseline
        if not isinstance(run, dict) or "started" not in run:
            return BaselineView()
        samples = [sample for history in histories.values() for sample in history]
        samples.sort(key=lambda sample: sample.moment.at)
        return baseline(Moment(*run["started"]), samples, events, self.targets(), now)

    def targets(self) -> BaselineTargets:
        """The baseline's targets as configured."""
        wanted, monitors = self.box.settings.baseline, self.box.settings.monitors
        return BaselineTargets(
            hours=wanted.hours,
            success_rate=wanted.success_rate,
            latency_s=wanted.latency_s,
            uptime=wanted.uptime,
            queue_size=wanted.queue_size,
            restarts=wanted.restarts,
            coverage=wanted.coverage,
            worker_every_s=monitors.worker.every_s,
            queue_every_s=monitors.queue.every_s,
        )

    def _notices(self) -> tuple[str, ...]:
        """What was not found, and which line of configuration would name it."""
        notices = [self.trouble] if self.trouble else []
        for role in self.box.roles:
            if not role.command:
                notices.append(
                    f"{role.name}: can be watched and ended, not started: "
                    f"add `command = [...]` under [roles.{role.name}]"
                )
        if self.box.settings.outputs is None and not self._has_heartbeat():
            notices.append(
                f'no status files in {self.box.outputs}: add `outputs = "DIRECTORY"` to read them'
            )
        if self.box.config is None:
            notices.append("no configuration file: `rpa-console config init` writes one")
        return tuple(notices)

    def _has_heartbeat(self) -> bool:
        try:
            read_json(self.box.outputs / self.box.settings.monitors.watchdog.file)
        except FileError:
            return False
        return True
