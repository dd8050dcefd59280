"""Reads past moments from the store: snapshots for time travel, and the data of graphs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from console.core.baseline.run_document import current_view, run_started_at
from console.core.metrics.time_series import sort_by_id
from console.core.model.events import END_KINDS, Event, EventKind
from console.core.model.roles import Lease, LeaseState
from console.core.model.samples import HealthState, Sample
from console.core.model.snapshot import Snapshot
from console.core.model.time import Moment
from console.core.model.views import DaemonView
from console.core.records import Component, field, replace
from console.core.snapshot.builder import (
    MonitorInputs,
    SnapshotInputs,
    build_snapshot,
    last_observed_roles,
)
from console.core.supervision.role_codec import RoleObservation
from console.core.text.json_values import as_object
from console.core.trends import DAY_S, TrendPoint, Trends, build_trends, to_trend_point
from console.core.verdict import check_overdue
from console.monitors import Monitor
from console.runtime.baseline.conditions import configured_targets
from console.runtime.snapshots.sample_history import MAX_SAMPLES
from console.runtime.snapshots.store_view import HISTORY_S, MAX_EVENTS, StoreView
from console.system.box import Box
from console.system.store.store import MAX_SAMPLE_DISTANCE_S

if TYPE_CHECKING:
    from console.core.handover.model import Handover

DAEMON_EVENTS = (EventKind.DAEMON_STARTED, EventKind.DAEMON_STOPPED)
BASELINE_EVENTS = (EventKind.BASELINE_STARTED, EventKind.BASELINE_ENDED)
TREND_MARK_EVENTS = (EventKind.VERDICT_CHANGED, EventKind.STARTED, *END_KINDS)
_FREE_LEASE = Lease(LeaseState.FREE)
MAX_HANDOVER_EVENTS = 50_000
"""Largest number of events that a hand-over is built from."""
MIN_CLOCK_CHANGE_S = 1.0
"""If the wall clock was set by more than this, the times of past samples have changed."""
MAX_NEXT_EVENT_CANDIDATES = 50
"""The next event is the earliest of this many, as they may not be stored in order."""
SAME_MOMENT_S = 0.05
"""Events closer together than this count as one moment."""


class TimeTravelReader(Component):
    """Reader of the store for past moments."""

    box: Box
    monitors: Mapping[str, Monitor]
    _readings: deque[TrendPoint] = field(default_factory=deque)
    _last_sample_id: int = -1
    _store_generation: int = 0
    _clock_offset_s: float = 0.0
    """Wall clock minus ticks, in seconds, when the readings were taken."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # --- graphs ----------------------------------------------------------------------------

    def trends(self, until: Moment | None = None) -> Trends:
        """Return the trends of the 24 hours until a moment. Raises StoreError.

        None: until now, read incrementally.
        """
        store = self.box.store
        if until is not None:
            sample = self._last_sample(until)
            points = self._read_day(until, sample.id if sample else 0)
        else:
            until = self.box.now()
            points = self._read_day_incrementally(until)
        marks = store.events(
            kinds=TREND_MARK_EVENTS, limit=MAX_EVENTS, until_id=store.last_event_id_at(until)
        )
        return build_trends(points, marks, until)

    def _read_day(self, end: Moment, last_sample_id: int) -> list[TrendPoint]:
        day = (
            self.box.store.iter_samples(name, end.plus(-DAY_S), last_sample_id)
            for name in self.monitors
        )
        return sorted(
            (to_trend_point(item, end) for item in chain(*day)), key=lambda point: point.at
        )

    def _read_day_incrementally(self, now: Moment) -> list[TrendPoint]:
        """Return the points of the 24 hours until now, in current wall time.

        Everything is read again after the clock was set.
        """
        with self._lock:
            store, was_set = (
                self.box.store,
                abs(now.at - now.tick - self._clock_offset_s) > MIN_CLOCK_CHANGE_S,
            )
            if self._last_sample_id < 0 or store.generation != self._store_generation or was_set:
                self._store_generation, self._last_sample_id = (
                    store.generation,
                    store.last_sample_id(),
                )
                self._readings = deque(self._read_day(now, self._last_sample_id))
                self._clock_offset_s = now.at - now.tick
            for sample in store.samples_after(self._last_sample_id):
                self._last_sample_id = sample.id
                self._readings.append(to_trend_point(sample, now))
            while self._readings and self._readings[0].at < now.at - DAY_S:
                self._readings.popleft()
            return list(self._readings)

    def handover(self, snapshot: Snapshot, since: Moment) -> Handover:
        """Return the hand-over of a snapshot, with the events since then. Raises StoreError."""
        from console.core.handover import builder  # imported only when a hand-over is requested

        store = self.box.store
        events = store.events(
            until_id=store.last_event_id_at(snapshot.moment), limit=MAX_HANDOVER_EVENTS
        )
        return builder.build_handover(snapshot, events, since)

    # --- time travel -----------------------------------------------------------------------

    def snapshot(self, target: Moment, direction: int = 0) -> Snapshot | None:
        """Return the snapshot of that moment, or of the event before (-1) or after it (1).

        None if there is no data of that moment, or it is in the future. Raises StoreError.
        """
        moment = (
            self._adjacent_event_moment(target, direction)
            if direction
            else self._moment_with_data(target)
        )
        if moment is None or moment.later_than(self.box.now()):
            return None
        return self._compose(moment)

    def _adjacent_event_moment(self, target: Moment, direction: int) -> Moment | None:
        """Return the moment of the event before or after, in the order of their occurrence.

        None if there is no such event.
        """
        store = self.box.store
        here = store.last_event_id_at(target.plus(SAME_MOMENT_S * direction))
        if direction < 0:
            events = store.events(until_id=here, limit=1)
            return events[-1].moment if events else None
        moments = [event.moment for event in store.events_after(here, MAX_NEXT_EVENT_CANDIDATES)]
        boot = moments[0].boot if moments else ""
        return min(
            (moment for moment in moments if moment.boot == boot), key=_boot_order_key, default=None
        )

    def _moment_with_data(self, target: Moment) -> Moment | None:
        """Return the moment on the clocks of its own boot; None before the first sample."""
        sample = self._last_sample(target)
        if sample is None:
            return None
        if sample.moment.boot and sample.moment.boot == target.boot:
            return sample.moment.plus(target.tick - sample.moment.tick)
        return sample.moment.plus(target.at - sample.moment.at)

    def _last_sample(self, target: Moment) -> Sample | None:
        """Return the last sample until then; None if there is none.

        A moment of a known boot is found by its ticks, and one typed by an operator by its wall
        time.
        """
        store = self.box.store
        candidates = (store.sample_at_wall_time(name, target.at) for name in self.monitors)
        samples = [sample for sample in candidates if sample is not None]
        newest = max((sample.moment.at for sample in samples), default=0.0)
        near = [sample for sample in samples if newest - sample.moment.at < MAX_SAMPLE_DISTANCE_S]
        last = max(near, key=lambda sample: sample.id, default=None)
        if target.boot and not (last and _is_same_clock(last.moment, target)):
            last = store.sample_at_moment(target) or last
        return last

    def _compose(self, now: Moment) -> Snapshot:
        box, view = self.box, StoreView(self.box, self.monitors)
        until, sample = box.store.last_event_id_at(now), self._last_sample(now)
        last_id = sample.id if sample else 0
        events = box.store.events(until_id=until, limit=MAX_EVENTS)
        run, last = self._read_runs(until)
        start = run_started_at(run)
        since = now.plus(-HISTORY_S if start is None else -max(HISTORY_S, now.since(start)))
        histories = {name: self._read_samples(name, since, last_id) for name in self.monitors}
        samples = sort_by_id(chain(*histories.values()))
        inputs = {name: view.monitor_facts(name, histories[name], now) for name in self.monitors}
        facts = SnapshotInputs(
            host=box.host,
            box=box.name,
            queue_url=box.settings.queue.address,
            roles=box.roles,
            monitors=inputs,
            events=events,
            observed_roles=_observed_roles(inputs.get("worker"), events, now),
            daemon=self._daemon_view(until),
            baseline=current_view(
                run, last, samples, events, configured_targets(box.settings), now
            ),
        )
        return build_snapshot(facts, now)

    def _read_samples(self, name: str, since: Moment, last_sample_id: int) -> list[Sample]:
        store = self.box.store
        return store.samples(name, since, MAX_SAMPLES, last_sample_id) or store.samples(
            name, limit=1, until_id=last_sample_id
        )

    def _read_runs(self, last_event_id: int) -> tuple[object, object]:
        """Return the baseline run in progress at that event, and the last one that had ended.

        At least one of them is None.
        """
        events = self.box.store.events(kinds=BASELINE_EVENTS, limit=1, until_id=last_event_id)
        if not events:
            return None, None
        run = as_object(events[0].data)
        return (run, None) if events[0].kind is EventKind.BASELINE_STARTED else (None, run)

    def _daemon_view(self, last_event_id: int) -> DaemonView:
        events = self.box.store.events(kinds=DAEMON_EVENTS, limit=1, until_id=last_event_id)
        if not events or events[0].kind is EventKind.DAEMON_STOPPED:
            return DaemonView(reason="the monitors' daemon was not running")
        pid = events[0].reason.removeprefix("PID ")
        return DaemonView(True, int(pid) if pid.isdecimal() else None, events[0].moment)


def _is_same_clock(one: Moment, other: Moment) -> bool:
    """Return True if the clock was not set between the two moments."""
    apart = (other.at - one.at) - (other.tick - one.tick)
    return one.boot == other.boot and one.tick <= other.tick and abs(apart) < MIN_CLOCK_CHANGE_S


def _boot_order_key(moment: Moment) -> float:
    return moment.tick if moment.boot else moment.at


def _observed_roles(
    worker: MonitorInputs | None, events: Sequence[Event], now: Moment
) -> Mapping[str, RoleObservation] | None:
    """Return the last observation, without instances that have ended since by the event log.

    None if there is no recent one.
    """
    if worker is None or worker.last_sample is None:
        return None
    health = check_overdue(worker.health, worker.history, worker.every_s, now, worker.timeout_s)
    if health.state in (HealthState.OFF, HealthState.OVERDUE):
        return None  # too old to describe that moment
    gone = {event.identity for event in events if event.kind in END_KINDS}

    def left(seen: RoleObservation) -> RoleObservation:
        living = tuple(instance for instance in seen.instances if instance.identity not in gone)
        owner = seen.lease.owner
        freed = owner is not None and owner.identity in gone
        return replace(seen, instances=living, lease=_FREE_LEASE if freed else seen.lease)

    return {name: left(seen) for name, seen in last_observed_roles(worker.history).items()}
