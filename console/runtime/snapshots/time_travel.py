"""What the store tells of a past moment, and of the day before it: time travel and graphs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import field
from itertools import chain
from typing import TYPE_CHECKING

from console.core.baseline.run_document import began, shown
from console.core.frozen import replace, slotted
from console.core.metrics.time_series import in_order
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
from console.core.snapshot.builder import Facts, MonitorFacts, compose, last_seen
from console.core.supervision.role_codec import Seen
from console.core.text.json_values import table
from console.core.trends import DAY_S, Reading, Trends, reading, trends
from console.core.verdict import timely
from console.monitors import Monitor
from console.runtime.baseline.conditions import targets
from console.runtime.snapshots.sample_history import MOST
from console.runtime.snapshots.store_view import EVENTS, HISTORY_S, View
from console.system.box import Box
from console.system.store.store import NEAR_S

if TYPE_CHECKING:
    from console.core.handover.model import Handover

DAEMON = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
RUN = (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
GONE = (EventKind.DIED, EventKind.ENDED)
MARKS = (EventKind.VERDICT_CHANGED, EventKind.STARTED, *GONE)
_FREE = Lease(LeaseState.FREE)
LEDGER = 50_000
"""Lines that a hand-over is told from at most."""
SET_S = 1.0
"""A wall clock that was set by more than this has other times for what it has seen."""
FEW = 50
"""Of so many lines the next event is the earliest: they may not lie in order."""
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
    _offset: float = 0.0
    """The wall clock against the ticks, when the readings were taken."""
    _guard: threading.Lock = field(default_factory=threading.Lock)

    # --- graphs ----------------------------------------------------------------------------

    def trends(self, until: Moment | None = None) -> Trends:
        """The day until a moment; until now when None, read on from the last time. StoreError."""
        store = self.box.store
        if until is not None:
            look = self._last_look(until)
            read = self._day(until, look.id if look else 0)
        else:
            until = self.box.now()
            read = self._read_on(until)
        marks = store.events(kinds=MARKS, limit=EVENTS, until=store.line_at(until))
        return trends(read, marks, until)

    def _day(self, ends: Moment, until: int) -> list[Reading]:
        day = (self.box.store.past(name, ends.plus(-DAY_S), until) for name in self.monitors)
        return sorted((reading(one, ends) for one in chain(*day)), key=lambda one: one.at)

    def _read_on(self, now: Moment) -> list[Reading]:
        """The day until now, on the wall clock as it goes now: read anew when it was set."""
        with self._guard:
            store, was_set = self.box.store, abs(now.at - now.tick - self._offset) > SET_S
            if self._last < 0 or store.generation != self._generation or was_set:
                self._generation, self._last = store.generation, store.newest_sample_id()
                self._readings = deque(self._day(now, self._last))
                self._offset = now.at - now.tick
            for sample in store.samples_after(self._last):
                self._last = sample.id
                self._readings.append(reading(sample, now))
            while self._readings and self._readings[0].at < now.at - DAY_S:
                self._readings.popleft()
            return list(self._readings)

    def handover(self, shown: Snapshot, since: Moment) -> Handover:
        """The hand-over of what is shown, telling what happened since. Raises StoreError."""
        from console.core.handover import builder  # whoever asks for it waits for it

        store = self.box.store
        events = store.events(until=store.line_at(shown.moment), limit=LEDGER)
        return builder.compose(shown, events, since)

    # --- time travel -----------------------------------------------------------------------

    def snapshot(self, around: Moment, way: int = 0) -> Snapshot | None:
        """What was known at that moment; at the event before or after it when `way` is -1 or 1.

        None where nothing was known, or is not yet. Raises StoreError.
        """
        moment = self._beside(around, way) if way else self._known(around)
        if moment is None or moment.later_than(self.box.now()):
            return None
        return self._compose(moment)

    def _beside(self, around: Moment, way: int) -> Moment | None:
        """The moment of the event before or after, in the order in which they happened."""
        store = self.box.store
        here = store.line_at(around.plus(SAME_S * way))
        if way < 0:
            found = store.events(until=here, limit=1)
            return found[-1].moment if found else None
        later = [one.moment for one in store.lines_after(here, FEW)]
        boot = later[0].boot if later else ""
        return min((one for one in later if one.boot == boot), key=_on_its_clock, default=None)

    def _known(self, around: Moment) -> Moment | None:
        """The moment on the clocks of its own boot; None before the first look."""
        look = self._last_look(around)
        if look is None:
            return None
        if look.moment.boot and look.moment.boot == around.boot:
            return look.moment.plus(around.tick - look.moment.tick)
        return look.moment.plus(around.at - look.moment.at)

    def _last_look(self, around: Moment) -> Sample | None:
        """The last look until then.

        A moment of a known boot is found by its ticks, one that a person has typed by its hour.
        """
        store = self.box.store
        told = (store.looked_by(name, around.at) for name in self.monitors)
        looks = [one for one in told if one is not None]
        newest = max((one.moment.at for one in looks), default=0.0)
        near = [one for one in looks if newest - one.moment.at < NEAR_S]
        last = max(near, key=lambda one: one.id, default=None)
        if around.boot and not (last and _same_clock(last.moment, around)):
            last = store.seen_by(around) or last
        return last

    def _compose(self, now: Moment) -> Snapshot:
        box, view = self.box, View(self.box, self.monitors)
        until, look = box.store.line_at(now), self._last_look(now)
        last_id = look.id if look else 0
        events = box.store.events(until=until, limit=EVENTS)
        run, last = self._run(until)
        start = began(run)
        since = now.plus(-HISTORY_S if start is None else -max(HISTORY_S, now.since(start)))
        histories = {name: self._history(name, since, last_id) for name in self.monitors}
        samples = in_order(chain(*histories.values()))
        told = {name: view.monitor(name, histories[name], now) for name in self.monitors}
        facts = Facts(
            host=box.host,
            box=box.name,
            queue_url=box.settings.queue.address,
            roles=box.roles,
            monitors=told,
            events=events,
            seen=_seen(told.get("worker"), events, now),
            daemon=self._daemon(until),
            baseline=shown(run, last, samples, events, targets(box.settings), now),
        )
        return compose(facts, now)

    def _history(self, name: str, since: Moment, until: int) -> list[Sample]:
        store = self.box.store
        return store.samples(name, since, MOST, until) or store.samples(name, limit=1, until=until)

    def _run(self, until: int) -> tuple[object, object]:
        """The baseline's run under way after that line, and the one that was over."""
        told = self.box.store.events(kinds=RUN, limit=1, until=until)
        if not told:
            return None, None
        about = table(told[0].data)
        return (about, None) if told[0].kind is EventKind.BASELINE_STARTED else (None, about)

    def _daemon(self, until: int) -> DaemonView:
        told = self.box.store.events(kinds=DAEMON, limit=1, until=until)
        if not told or told[0].kind is EventKind.DAEMON_STOPPED:
            return DaemonView(reason="the monitors' daemon was not running")
        pid = told[0].reason.removeprefix("PID ")
        return DaemonView(True, int(pid) if pid.isdecimal() else None, told[0].moment)


def _same_clock(one: Moment, other: Moment) -> bool:
    """Whether both were read from a clock that was not set between them."""
    apart = (other.at - one.at) - (other.tick - one.tick)
    return one.boot == other.boot and one.tick <= other.tick and abs(apart) < SET_S


def _on_its_clock(moment: Moment) -> float:
    return moment.tick if moment.boot else moment.at


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
