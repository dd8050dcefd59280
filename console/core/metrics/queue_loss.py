"""Detects what a queue server lost in a restart: it keeps tasks and results in memory."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record
from console.core.text.json_values import as_count

COUNTERS = ("completed", "successful", "failed")


class QueueLoss(Record, frozen=True):
    """A restart of the queue server, with the tasks and results lost since the sample before it."""

    moment: Moment
    """When the first sample of the restarted server was taken."""
    waiting: int = 0
    inflight: int = 0
    results: int = 0

    @property
    def task_count(self) -> int:
        return self.waiting + self.inflight

    @property
    def message(self) -> str:
        counts = f"{self.waiting} waiting, {self.inflight} in work, {self.results} results"
        if not self.task_count and not self.results:
            return "queue server began anew: nothing that the look before saw is gone"
        return f"queue server began anew: {counts} of the look before are gone"


def has_figures(sample: Sample) -> bool:
    """Return True if the sample holds the server's figures."""
    return sample.error is None and sample.data.get("problem") is None


def detect_loss(before: Sample, after: Sample) -> QueueLoss | None:
    """Return the loss between two samples with figures, or None if the server did not restart.

    A counter that fell proves a restart. If the counters stood at 0, a task that was waiting or in
    work, and is now neither and not answered, proves it.
    """
    old, new = before.data, after.data
    counters = [(as_count(old.get(key)), as_count(new.get(key))) for key in COUNTERS]
    fell = any(a is not None and b is not None and b < a for a, b in counters)
    if not fell and not (new.get("vanished") is True and not as_count(new.get("completed"))):
        return None
    waiting, inflight = (as_count(old.get(key)) or 0 for key in ("size", "inflight"))
    waiting_now = as_count(new.get("size")) or 0  # a server that persists its tasks has them again
    lost_waiting = max(0, waiting - waiting_now)
    requeued = max(0, waiting_now - waiting)
    inflight_now = (as_count(new.get("inflight")) or 0) + requeued
    lost_results = (counters[0][0] or 0) if fell else 0
    return QueueLoss(after.moment, lost_waiting, max(0, inflight - inflight_now), lost_results)


def find_last_loss(samples: Sequence[Sample]) -> QueueLoss | None:
    """Return the loss of the newest restart among `samples`, or None.

    `samples` are oldest first.
    """
    after: Sample | None = None
    for sample in reversed(samples):
        if not has_figures(sample):
            continue
        if after is not None and (loss := detect_loss(sample, after)) is not None:
            return loss
        after = sample
    return None
