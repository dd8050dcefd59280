"""What the store tells of a past moment, and of the day before it: time travel and graphs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import field
from itertools import chain
from typing import TYPE_CHECKING

from console.core.foreign import table
from console.core.frozen import replace, slotted
from console.core.health import timely
from console.core.model import (
    DaemonView,
    Event,
    EventKind,
    HealthState,
    Lease,
    LeaseState,
    Moment,
    Sample,
    Snapshot,
)
from console.core.record import Seen
from console.core.runs import began, shown
from console.core.snapshot import Facts, MonitorFacts, compose, last_seen
from console.core.trends import DAY_S, Reading, Trends, reading, trends
from console.monitors import Monitor
from console.runtime.conditions import targets
from console.runtime.keeping import MOST
from console.runtime.view import EVENTS, HISTORY_S, View
from console.system.box import Box

if TYPE_CHECKING:
    from console.core.document import Handover

DAEMON = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
RUN = (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
GONE = (EventKind.DIED, EventKind.ENDED)
MARKS = (EventKind.VERDICT_CHANGED, EventKind.STARTED, *GONE)
AHEAD_S = (600.0, 6 * 3600.0, 10 * 86_400.0)
"""How far ahead the next event is looked for, step by step."""
_FREE = Lease(LeaseState.FREE)
LEDGER = 50_000
"""Lines that a hand-over is told from at most."""
SAME_S = 0.05
"""Events closer together than this are one moment."""


@slotted
class Past:
    """The store, read for moments that are gone."""

    box: Box
    monitors: Mapping[str, Monitor]
    _readings: deque[Reading] = field(default_factory=deque)
    _last: int = -1
    _generation: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    # --- graphs ----------------------------------------------------------------------------

    def trends(self, until: Moment | None = None) -> Trends:
        """The day until a moment; until now when None, read on from the last time. StoreError."""
        if until is not None:
            read = self._day(until.at)
        else:
            until, read = self.box.now(), self._read_on()
        marks = self.box.store.events(kinds=MARKS, limit=EVENTS, until=until.at)
        return trends(read, marks, until.at)

    def _day(self, ends: float) -> list[Reading]:
        day = (self.box.store.past(name, ends - DAY_S, ends) for name in self.monitors)
        return sorted(map(reading, chain(*day)), key=lambda one: one.at)

    def _read_on(self) -> list[Reading]:
        with self._guard:
            store, now = self.box.store, self.box.now().at
            if self._last < 0 or store.generation != self._generation:
                self._generation, self._last = store.generation, store.newest_sample_id()
                self._readings = deque(self._day(now))
            for sample in store.samples_after(self._last):
                self._last = sample.id
                self._readings.append(reading(sample))
            while self._readings and self._readings[0].at < now - DAY_S:
                self._readings.popleft()
            return list(self._readings)

    def handover(self, shown: Snapshot, since: Moment) -> Handover:
        """The hand-over of what is shown, telling what happened since. Raises StoreError."""
        from console.core import handover  # whoever asks for it waits for it

        events = self.box.store.events(until=shown.moment.at, limit=LEDGER)
        return handover.compose(shown, events, since)

    # --- time travel -----------------------------------------------------------------------

    def snapshot(self, around: Moment, way: int = 0) -> Snapshot | None:
        """What was known at that moment; at the event before or after it when `way` is -1 or 1.

        None where nothing was known, or is not yet. Raises StoreError.
        """
        moment = self._beside(around, way) if way else self._known(around)
        if moment is None or moment.at > self.box.now().at:
            return None
        return self._compose(moment)

    def _beside(self, around: Moment, way: int) -> Moment | None:
        store = self.box.store
        if way < 0:
            found = store.events(until=around.at - SAME_S, limit=1)
            return found[-1].moment if found else None
        here = store.events(until=around.at + SAME_S, limit=1)
        for ahead in AHEAD_S:
            found = store.events(here[-1].id if here else 0, until=around.at + ahead, limit=EVENTS)
            later = [one.moment for one in found if one.moment.at > around.at + SAME_S]
            if later:
                return min(later, key=lambda moment: moment.at)
        return None

    def _known(self, around: Moment) -> Moment | None:
        """The moment on the clocks of its own boot; None before the first look."""
        looks = [
            one for name in self.monitors for one in self.box.store.samples(name, 0, 1, around.at)
        ]
        if not looks:
            return None
        last = max(looks, key=lambda one: one.moment.at).moment
        return last.plus(around.at - last.at)

    def _compose(self, now: Moment) -> Snapshot:
        box, view = self.box, View(self.box, self.monitors)
        events = box.store.events(until=now.at, limit=EVENTS)
        run, last = self._run(now)
        start = began(run)
        since = now.at - HISTORY_S if start is None else min(now.at - HISTORY_S, start.at)
        histories = {name: self._history(name, since, now) for name in self.monitors}
        samples = sorted(chain(*histories.values()), key=lambda one: one.moment.at)
        told = {name: view.monitor(name, histories[name], now) for name in self.monitors}
        facts = Facts(
            host=box.host,
            box=box.name,
            queue_url=box.settings.queue.address,
            roles=box.roles,
            monitors=told,
            events=events,
            seen=_seen(told.get("worker"), events, now),
            daemon=self._daemon(now),
            baseline=shown(run, last, samples, events, targets(box.settings), now),
        )
        return compose(facts, now)

    def _history(self, name: str, since: float, now: Moment) -> list[Sample]:
        store = self.box.store
        return store.samples(name, since, MOST, now.at) or store.samples(name, 0, 1, now.at)

    def _run(self, now: Moment) -> tuple[object, object]:
        """The baseline's run under way at that moment, and the one that was over."""
        told = self.box.store.events(kinds=RUN, limit=1, until=now.at)
        if not told:
            return None, None
        about = table(told[0].data)
        return (about, None) if told[0].kind is EventKind.BASELINE_STARTED else (None, about)

    def _daemon(self, now: Moment) -> DaemonView:
        told = self.box.store.events(kinds=DAEMON, limit=1, until=now.at)
        if not told or told[0].kind is EventKind.DAEMON_STOPPED:
            return DaemonView(reason="the monitors' daemon was not running")
        pid = told[0].reason.removeprefix("PID ")
        return DaemonView(True, int(pid) if pid.isdecimal() else None, told[0].moment)


def _seen(
    worker: MonitorFacts | None, events: Sequence[Event], now: Moment
) -> Mapping[str, Seen] | None:
    """What was seen last, without those that the ledger knows to have gone since."""
    if worker is None or worker.last is None:
        return None
    health = timely(worker.health, worker.history, worker.every_s, now, worker.timeout_s)
    if health.state in (HealthState.OFF, HealthState.OVERDUE):
        return None  # too old to say anything of that moment
    gone = {event.identity for event in events if event.kind in GONE}

    def left(seen: Seen) -> Seen:
        living = tuple(one for one in seen.instances if one.identity not in gone)
        owner = seen.lease.owner
        freed = owner is not None and owner.identity in gone
        return replace(seen, instances=living, lease=_FREE if freed else seen.lease)

    return {name: left(seen) for name, seen in last_seen(worker.history).items()}
