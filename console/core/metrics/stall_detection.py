"""Detects a living worker that does no work: it does not take or finish the tasks it was given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from console.core.metrics.statistics import percentile
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import as_count, as_number, as_text

MIN_IDLE_STALL_S = 30.0
"""A shorter time is never called a stall, even while no task is in work."""
MIN_BUSY_STALL_S, DEFAULT_BUSY_STALL_S = 120.0, 300.0
"""The minimum while a task is in work, which may be a long one; and the limit while a task is in
work and no usual duration is known."""
STALL_FACTOR, USUAL_PERCENTILE, MIN_DURATIONS = 3.0, 95.0, 3
"""The limit is STALL_FACTOR times the usual duration. The usual duration is this percentile of the
observed durations, if there are at least MIN_DURATIONS of them."""
MAX_SAMPLE_GAP_S = 60.0
"""The time between two samples counts for at most this: unobserved time proves nothing."""
MIN_UNCHANGED_SAMPLES, MAX_SAMPLES = 3, 1_000
"""Number of samples that must show an unchanged queue, and maximum number of samples from which
usual durations are computed."""


class QueueSample(Record, frozen=True):
    """One sample of the queue. None: the value is unknown."""

    moment: Moment
    observed_s: float
    """Seconds of observation since the first sample."""
    size: int | None
    inflight: int | None
    finished_count: int | None
    """Number of tasks that workers were observed to answer, pings excluded."""
    lease_s: float | None

    @property
    def has_work(self) -> bool:
        """Return True if a task was waiting or in work."""
        return bool(self.size or self.inflight)


class StallSignals(Record, frozen=True):
    """Signals in the samples that do not depend on the current time."""

    last_canary: Sample | None = None
    """The newest canary sample."""
    last_sample: QueueSample | None = None
    unchanged_samples: tuple[QueueSample, ...] = ()
    """The newest samples, newest first, with waiting tasks and no task finished."""
    usual_gap_s: float | None = None
    """Usual time from one finished task to the next while there was work."""
    usual_lease_s: float | None = None
    """Usual time that a task is in work, as far as the samples show it."""


def collect_stall_signals(histories: Mapping[str, Sequence[Sample]]) -> StallSignals:
    """Return the signals that only a new sample can change.

    `histories` maps each monitor to its samples, oldest first.
    """
    canary, samples = (
        histories.get("canary", ()),
        _queue_samples(histories.get("queue", ())[-MAX_SAMPLES:]),
    )
    unchanged: list[QueueSample] = []
    for sample in reversed(samples):
        if (
            not sample.size
            or sample.finished_count is None
            or sample.finished_count != samples[-1].finished_count
        ):
            break
        unchanged.append(sample)
    lease_durations = [
        before.lease_s
        for before, after in pairwise(samples)
        if before.lease_s is not None and (after.lease_s or 0.0) < before.lease_s
    ]
    return StallSignals(
        canary[-1] if canary else None,
        samples[-1] if samples else None,
        tuple(unchanged),
        _usual_duration(_finish_gaps(samples)),
        _usual_duration(lease_durations),
    )


def find_stall_evidence(
    signals: StallSignals,
    fresh_monitors: Collection[str],
    last_proof_of_work: Moment | None,
    youngest_started: Moment,
    now: Moment,
) -> str | None:
    """Return why the workers must be called stalled, or None.

    `fresh_monitors` are the monitors whose newest sample is still valid. `last_proof_of_work` is
    when work was last observed. `youngest_started` is when the youngest worker started.
    """
    worker_age_s = now.since(youngest_started)
    if "canary" in fresh_monitors and (
        reason := _canary_not_taken(signals, last_proof_of_work, worker_age_s, now)
    ):
        return reason
    if "queue" not in fresh_monitors or signals.last_sample is None:
        return None
    return _queue_not_shrinking(signals, worker_age_s, now) or _task_held_too_long(
        signals, signals.last_sample, worker_age_s, now
    )


def _canary_not_taken(
    signals: StallSignals, last_proof_of_work: Moment | None, worker_age_s: float, now: Moment
) -> str | None:
    """Return a reason if the newest canary was accepted and not taken while no task was in work."""
    last = signals.last_canary
    if last is None or last.error is not None or last.data.get("failed_at") != "taken":
        return None
    if last.data.get("busy_s") is not None:  # it waits behind a task that is in work
        return None
    age_s = now.since(last.moment)
    busy = signals.last_sample is not None and bool(signals.last_sample.inflight)
    if (
        busy
        or worker_age_s < age_s + MIN_IDLE_STALL_S
        or (last_proof_of_work is not None and now.since(last_proof_of_work) < age_s)
    ):
        return None
    return sanitize_text(f"canary not taken: {as_text(last.data.get('detail')) or '?'}", 200)


def _queue_not_shrinking(signals: StallSignals, worker_age_s: float, now: Moment) -> str | None:
    """Return a reason if tasks wait and none has been finished for longer than is usual."""
    run = [
        sample for sample in signals.unchanged_samples if now.since(sample.moment) <= worker_age_s
    ]
    if len(run) < MIN_UNCHANGED_SAMPLES:
        return None
    unchanged_s = run[0].observed_s - run[-1].observed_s
    limit, measure = _stall_limit(signals.usual_gap_s, any(sample.inflight != 0 for sample in run))
    if unchanged_s < limit:
        return None
    return f"{run[0].size} waiting, nothing finished for {format_duration(unchanged_s)} ({measure})"


def _task_held_too_long(
    signals: StallSignals, last_sample: QueueSample, worker_age_s: float, now: Moment
) -> str | None:
    """Return a reason if one of these workers has held a task for longer than is usual."""
    held_s = last_sample.lease_s
    if held_s is None or now.since(last_sample.moment) + held_s > worker_age_s:
        return None
    limit, measure = _stall_limit(signals.usual_lease_s, working=True)
    return f"a task in work for {format_duration(held_s)} ({measure})" if held_s >= limit else None


def _stall_limit(usual_s: float | None, working: bool) -> tuple[float, str]:
    """Return the time in seconds from which a stall is assumed, and its explanation."""
    if usual_s is None:
        limit = DEFAULT_BUSY_STALL_S if working else MIN_IDLE_STALL_S
        return limit, f"limit {format_duration(limit)}, no habit known"
    limit = max(MIN_BUSY_STALL_S if working else MIN_IDLE_STALL_S, STALL_FACTOR * usual_s)
    return limit, f"limit {format_duration(limit)}, usual {format_duration(usual_s)}"


# --- signals from samples ---------------------------------------------------------------------


def _queue_samples(queue: Sequence[Sample]) -> list[QueueSample]:
    samples: list[QueueSample] = []
    for sample in queue:
        data = sample.data if sample.error is None and sample.data.get("problem") is None else {}
        step = min(sample.moment.since(samples[-1].moment), MAX_SAMPLE_GAP_S) if samples else 0.0
        samples.append(
            QueueSample(
                sample.moment,
                samples[-1].observed_s + step if samples else 0.0,
                as_count(data.get("size")),
                as_count(data.get("inflight")),
                as_count(data.get("answered")),
                as_number(data.get("oldest_lease_s")),
            )
        )
    return samples


def _finish_gaps(samples: Sequence[QueueSample]) -> list[float]:
    gaps: list[float] = []
    began: float | None = None
    for before, after in pairwise(samples):
        if (
            before.finished_count is None
            or after.finished_count is None
            or after.finished_count < before.finished_count
        ):
            began = None
            continue
        if began is None and before.has_work:
            began = before.observed_s
        if after.finished_count > before.finished_count and began is not None:
            gaps.append(after.observed_s - began)
            began = after.observed_s
        if not after.has_work:
            began = None
    return gaps


def _usual_duration(durations: Sequence[float]) -> float | None:
    return percentile(durations, USUAL_PERCENTILE) if len(durations) >= MIN_DURATIONS else None
