"""What the store says of a box, kept up to date cheaply and composed into snapshots."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import field

from console import __version__
from console.core import alerts
from console.core.frozen import replace, slotted
from console.core.model import (
    Alert,
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
    Trouble,
)
from console.core.snapshot.builder import SHOWN_EVENTS, Facts, MonitorFacts, compose
from console.core.supervision.role_codec import Seen
from console.core.text.command_hint import step
from console.core.text.formatting import duration
from console.monitors import Monitor
from console.runtime.baseline.facts import LAST_RUN, RUN
from console.runtime.daemon_facts import DAEMON, told
from console.runtime.snapshots.ledger_digest import Digest
from console.runtime.snapshots.notices import full, notices
from console.runtime.snapshots.sample_history import History, judged_s
from console.system import daemon_role
from console.system.box import Box
from console.system.config.schema import Settings
from console.system.host.resource_pressure import Pressure
from console.system.locks import lease
from console.system.locks.ofd_lock import Grant, same_file

HISTORY_S = 8 * 3600.0
EVENTS = 2_000
"""Lines of the ledger that are kept: by more than are shown a baseline is judged."""
ALERTS = 10_000
TIMEOUT_S = 30.0
CANARY = "canary"
"""Fact of the store: when the canary began to be sent."""


@slotted
class View:
    """Histories and ledger in memory, refreshed by what is new only."""

    box: Box
    monitors: Mapping[str, Monitor]
    here: bool = False
    """This process runs the monitors."""
    grant: Grant | None = None
    """The monitors' lease, where this process holds it: it counts while its file has its name."""
    history_s: float = HISTORY_S
    few: Mapping[str, int] = field(default_factory=dict)
    """How many of a monitor's looks are read, for those of which few are enough."""
    lines: int = SHOWN_EVENTS
    """How many of the ledger's newest lines are read to begin with: those that are shown."""
    unread: str | None = None
    """Why the store cannot be read, for the screen."""
    unsaved: str | None = None
    """What could not be written to it, and why."""
    version: int = 0
    """Rises with what has been learnt."""
    read_until: int = -1
    """The state of the store, as `Store.changes` numbers it, up to which it was read."""
    troubles: tuple[Trouble, ...] | None = None
    """What this process itself, as the daemon, says of its own work."""
    seen: Mapping[str, Seen] | None = None
    """A look of our own, for a command that does not rely on a daemon."""
    _samples: dict[str, History] = field(default_factory=dict)
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))
    _last_sample: int = -1
    _last_event: int = 0
    _turned: Event | None = None
    """The last change of the verdict, however long ago it was."""
    _digested: int = 0
    """Up to this line the digest had read when it began."""
    _generation: int = 0
    _facts: dict[str, object] = field(default_factory=dict)
    _alerts: tuple[Alert, ...] = ()
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _digest: Digest = field(init=False)
    _pressure: Pressure = field(default_factory=Pressure)

    def __post_init__(self) -> None:
        self._digest = Digest(self.box)

    def refresh(self) -> None:
        """Read what is new. Raises StoreError."""
        with self._guard:
            store = self.box.store
            state = store.changes()  # before reading: what comes in between is read again
            if state == self.read_until and self._last_sample >= 0:
                self.unread = None
                return  # nobody has written since
            known = store.facts(RUN, LAST_RUN, CANARY, DAEMON)
            if store.generation != self._generation:
                self._forget()
            begins = self._last_sample < 0
            if begins:
                self._load(known[RUN])
            samples = store.samples_after(self._last_sample)
            # A baseline under way judges by the ledger.
            lines = self.lines if begins and not known[RUN] else EVENTS
            events = store.events(self._last_event, limit=lines)
            self._digest.add(one for one in events if one.id > self._digested)
            for sample in samples:
                self._history(sample.monitor).append(sample)
                self._last_sample = sample.id
            self._events.extend(events)
            turns = [one for one in events if one.kind is EventKind.VERDICT_CHANGED]
            self._turned = turns[-1] if turns else self._turned
            self._last_event = events[-1].id if events else self._last_event
            now = self.box.now()
            length_s = judged_s(known[RUN], self.history_s, now)
            for history in self._samples.values():
                history.forget(now, length_s)
            self._alerts = alerts.standing(events, self._alerts)
            if samples or events or known != self._facts:
                self._facts, self.version = known, self.version + 1
            self.unread, self.read_until = None, state

    def _load(self, run: object) -> None:
        """The past: as long as is judged by, and at least each monitor's last look."""
        store = self.box.store
        self._last_sample, now = store.newest_sample_id(), self.box.now()
        newest = store.events(limit=1)
        self._digested = newest[-1].id if newest else 0
        self._digest.load(self._digested)
        # An alert can stand for longer than the ledger is kept in memory.
        self._alerts = alerts.standing(store.events(kinds=alerts.KINDS, limit=ALERTS))
        turns = store.events(kinds=(EventKind.VERDICT_CHANGED,), limit=1)
        self._turned = turns[-1] if turns else None
        since = now.plus(-judged_s(run, self.history_s, now))
        for name in self.monitors:
            few, history = self.few.get(name), self._history(name)
            past = store.samples(name, since, few) if few else store.past(name, since)
            history.extend(one for one in past if one.id <= self._last_sample)
            if history.last is None:
                history.extend(store.samples(name, limit=1))
        self.version += 1

    def _forget(self) -> None:
        self._generation, self._last_sample, self._last_event = self.box.store.generation, -1, 0
        self._samples.clear()
        self._events.clear()
        self._alerts = ()

    def reload(self) -> None:
        """Read everything anew at the next refresh: the store has got what we kept for it."""
        with self._guard:
            self._forget()

    def reconfigure(self, settings: Settings) -> None:
        """Judge by other settings from here on; what is new in them is read from the ledger."""
        with self._guard:
            self.box.reconfigure(settings)
            self._digest.reconfigure(self._last_event)
            self.version += 1

    def trouble(self, found: tuple[Trouble, ...]) -> None:
        """Take over what the daemon that we are says of its own work."""
        if found != self.troubles:
            self.troubles = found
            self.version += 1

    def keep(self, sample: Sample) -> None:
        """Remember what the store could not take."""
        with self._guard:
            self._history(sample.monitor).append(sample)
            self.version += 1

    def _history(self, name: str) -> History:
        return self._samples.setdefault(name, History(name))

    def newest(self) -> int:
        """The ledger's last line that has been read."""
        return self._last_event

    def last(self, name: str) -> Sample | None:
        """A monitor's newest sample."""
        with self._guard:
            return self._history(name).last

    def health(self, name: str) -> Health:
        """What a monitor makes of its own history."""
        with self._guard:
            history = list(self._history(name))
        return self._judge(name, history, self.box.now())

    def off(self, name: str) -> str | None:
        """Why a monitor does not run, or None when it does."""
        if self.lost():
            return "the monitors' lease is lost"
        if not self.monitors[name].enabled(self.box.settings):
            return "switched off"
        limit_s = self.box.settings.monitors.canary.for_s
        began = self._facts.get(CANARY)
        if name != CANARY or limit_s is None or not isinstance(began, dict):
            return None
        ran = began.get("for_s") == limit_s and self.box.now().since(Moment(*began["began"]))
        return f"has run for {duration(limit_s)}, as configured" if ran >= limit_s else None

    def last_verdict(self) -> str | None:
        """The verdict that the ledger knows."""
        turned = self._turned
        return str(turned.data.get("verdict")) if turned is not None else None

    # --- composing -------------------------------------------------------------------------

    def compose(self, daemon: DaemonView | None = None) -> Snapshot:
        """The snapshot of this moment; who runs the monitors is looked up unless it is told."""
        with self._guard:
            now = self.box.now()
            histories = {name: list(self._history(name)) for name in self.monitors}
            events, stand = list(self._events), self._alerts
            roles = self.box.roles
            memories, work = dict(self._digest.memories), self._digest.work(histories)
            baseline = self._baseline_view(histories, events, now)
        unwritable = self.unwritable()
        snapshot = compose(
            Facts(
                host=self.box.host,
                box=self.box.settings.screen.box or self.box.name,
                queue_url=self.box.settings.queue.address,
                roles=roles,
                monitors={n: self.monitor(n, histories[n], now) for n in self.monitors},
                events=events,
                turned=self._turned,
                seen=self.seen,
                daemon=_troubled(daemon or self.daemon(), unwritable),
                alerts=stand,
                baseline=baseline,
                memories=memories,
                work=work,
            ),
            now,
        )
        told = dict.fromkeys(
            filter(None, (unwritable, self.unread, self.unsaved, self._digest.mistake))
        )
        door = self.box.door if self.box.settings.outputs else None
        scarce = self._pressure.told(self.box.paths.state, door)
        seen = dict.fromkeys((*told, *scarce, *notices(self.box, snapshot)))
        return replace(snapshot, notices=tuple(seen), unwritable=unwritable)

    def unwritable(self) -> str:
        """Why the state cannot be written, or nothing."""
        return self.box.store.trouble or full(self.box) or self.unsaved or ""

    def monitor(self, name: str, history: list[Sample], now: Moment) -> MonitorFacts:
        """What a snapshot is told of one monitor."""
        monitor = self.monitors[name]
        last = history[-1] if history else None
        return MonitorFacts(
            name=name,
            every_s=monitor.every(self.box.settings),
            history=history,
            health=self._judge(name, history, now),
            result=self._result(monitor, last),
            timeout_s=self.timeout_s(name),
        )

    def timeout_s(self, name: str) -> float:
        """Seconds after which a monitor's probe is given up."""
        deadline_s = self.box.settings.monitors.canary.deadline_s
        return deadline_s + TIMEOUT_S if name == CANARY else TIMEOUT_S

    def _result(self, monitor: Monitor, last: Sample | None) -> str:
        if last is None or last.error is not None:
            return ""
        try:
            return monitor.result(last)
        except Exception as error:
            return f"cannot be told: {type(error).__name__}: {error}"

    def _judge(self, name: str, history: list[Sample], now: Moment) -> Health:
        if reason := self.off(name):
            return Health(HealthState.OFF, reason)
        try:
            return self.monitors[name].judge(history, now, self.box.settings, self._digest.learnt())
        except Exception as error:
            return Health(HealthState.UNKNOWN, f"cannot judge: {type(error).__name__}: {error}")

    def daemon(self) -> DaemonView:
        """Who runs the monitors."""
        paths = self.box.paths
        held = lease.look(paths.lease(daemon_role.NAME), paths.owner(daemon_role.NAME))
        # A reason says that the owner is dead, or that there is none yet: a shim has the lock.
        if held.state is LeaseState.HELD and held.owner is not None and not held.reason:
            owner, beat = held.owner, daemon_role.heartbeat(paths)
            # An older one is of the daemon before, and says nothing of this one.
            seen = beat if beat is not None and owner.since.since(beat) <= 0 else None
            here = self.here and not self.lost()
            pid = owner.identity.pid
            version, troubles = told(self._facts.get(DAEMON), pid)
            if self.troubles is not None:
                version, troubles = __version__, self.troubles
            if pid != os.getpid() and daemon_role.stopped(pid):
                words = f"the monitors' daemon (PID {pid}) is stopped (SIGSTOP): kill -CONT {pid}"
                troubles = (Trouble("stopped", words), *troubles)
            return DaemonView(True, pid, owner.since, here, seen, "", version, troubles)
        reason = f"the monitors' daemon is not running (start it: {step('daemon start')})"
        if held.state is not LeaseState.FREE:
            reason = f"the monitors' lease is {held.state}: {held.reason}"
        if lost := self.lost():
            return DaemonView(reason=lost)
        return DaemonView(here=self.here, reason=reason)

    def lost(self) -> str:
        """Why this process runs the monitors no longer, though it held their lease."""
        if self.grant is None or same_file(self.grant.descriptor, self.grant.path):
            return ""
        state = self.box.paths.state
        return f"{state}: was removed or replaced; leave this console and start it again"

    def _baseline_view(
        self, histories: Mapping[str, list[Sample]], events: list[Event], now: Moment
    ) -> BaselineView:
        run, last = self._facts.get(RUN), self._facts.get(LAST_RUN)
        return self._digest.baseline(run, last, histories, events, self.version, now)


def _troubled(daemon: DaemonView, unwritable: str) -> DaemonView:
    """The daemon with a state that cannot be written as the first of its troubles."""
    if not unwritable:
        return daemon
    return replace(daemon, troubles=(Trouble("state", unwritable), *daemon.troubles))
