"""Caches values derived from event log and samples, so that composing a snapshot is cheap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from console.core.metrics.queue_metrics import QueueMetrics, compute_queue_metrics, file_proofs
from console.core.model.events import Event
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.model.views import BaselineView
from console.core.records import Component, field, replace
from console.core.supervision.role_history import RoleHistory, fold_events
from console.system.box import Box
from console.system.store.store import StoreError

if TYPE_CHECKING:
    from console.core.baseline.thresholds import Thresholds

MAX_ROLE_EVENTS = 2_000
"""Events of a role that are read at first."""
BASELINE_REFRESH_S = 5.0
"""Interval at which a baseline run's figures are recomputed without new data. They cover hours."""
_FileStamp = tuple[int, int] | None


class LedgerDigest(Component):
    """Cache of values derived from one box's event log and samples."""

    box: Box
    role_histories: dict[str, RoleHistory] = field(default_factory=dict)
    """Role name -> the history that its events add up to."""
    _queue_metrics: tuple[object, QueueMetrics] = (None, QueueMetrics())
    _file_proofs: tuple[object, Mapping[str, Moment]] = (None, {})
    _baseline: tuple[int, Moment, BaselineView] = (-1, Moment(0.0), BaselineView())
    _learned_thresholds: tuple[_FileStamp, Thresholds | None] = (None, None)
    thresholds_error: str | None = None
    """Error in the file of learned thresholds; None if there is none."""

    def load(self, last_event_id: int) -> None:
        """Read the history of each role, up to the event `last_event_id`. Raises StoreError.

        Events are read by role, so a history is read however many other events follow it.
        """
        for role in self.box.roles:
            events = self.box.store.role_events_condensed(role.name, last_event_id, MAX_ROLE_EVENTS)
            self.role_histories[role.name] = fold_events(events, role)

    def reconfigure(self, last_event_id: int) -> None:
        """Read the histories again after the roles have changed.

        If the store cannot be read, keep the known histories and begin with empty ones for new
        roles.
        """
        try:
            self.load(last_event_id)
        except StoreError:
            for role in self.box.roles:
                self.role_histories.setdefault(role.name, fold_events((), role))

    def add_events(self, events: Iterable[Event]) -> None:
        """Add new events, oldest first, to the histories."""
        roles = {role.name: role for role in self.box.roles}
        for event in events:
            if role := roles.get(event.role):
                self.role_histories[role.name] = fold_events(
                    [event], role, self.role_histories[role.name]
                )

    def queue_metrics(self, histories: Mapping[str, Sequence[Sample]]) -> QueueMetrics:
        """Return the metrics of the samples.

        They are recomputed when their monitors have a new sample.
        """
        newest = {name: history[-1] for name, history in histories.items() if history}
        queue_key = newest.get("queue"), newest.get("canary")
        if self._queue_metrics[0] != queue_key:
            self._queue_metrics = queue_key, compute_queue_metrics(histories)
        file_key = newest.get("watchdog"), newest.get("pipeline")
        if self._file_proofs[0] != file_key:
            self._file_proofs = file_key, file_proofs(histories)
        metrics = self._queue_metrics[1]
        return replace(metrics, proofs_of_work={**metrics.proofs_of_work, **self._file_proofs[1]})

    def baseline(
        self,
        run: object,
        last_result: object,
        histories: Mapping[str, Sequence[Sample]],
        events: Sequence[Event],
        version: int,
        now: Moment,
    ) -> BaselineView:
        """Return the baseline run in progress, or the result of the last one."""
        if run is None and last_result is None:
            return BaselineView()
        from console.core.baseline.run_document import current_view, run_started_at
        from console.core.metrics.time_series import sort_by_id
        from console.runtime.baseline.conditions import configured_targets

        configured = configured_targets(self.box.settings)
        if run_started_at(run) is None:
            return current_view(None, last_result, (), (), configured, now)
        cached_version, cached_at, view = self._baseline
        if (
            cached_version != version
            or now.since(cached_at) >= BASELINE_REFRESH_S
            or cached_at.since(now) > 0
        ):
            samples = sort_by_id(sample for history in histories.values() for sample in history)
            view = current_view(run, last_result, samples, events, configured, now)
            self._baseline = version, now, view
        return view

    def learned_thresholds(self) -> Thresholds | None:
        """Return the thresholds learned from the last passed baseline; None if there are none.

        Reads the file again when it has changed.
        """
        try:
            status = self.box.paths.thresholds.stat()
        except OSError:
            self.thresholds_error = None
            return None
        stamp = status.st_mtime_ns, status.st_ino
        if self._learned_thresholds[0] != stamp:
            from console.runtime.baseline import runs, threshold_file

            self._learned_thresholds = stamp, runs.learned_thresholds(self.box)
            self.thresholds_error = threshold_file.thresholds_file_error(self.box.paths.thresholds)
        return self._learned_thresholds[1]
