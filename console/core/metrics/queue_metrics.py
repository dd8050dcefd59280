"""Computes queue metrics from the monitors' samples.

The metrics do not depend on the current time: they are kept until there is a new sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile

from console.core.metrics.queue_loss import QueueLoss, find_last_loss, has_figures
from console.core.metrics.stall_detection import StallSignals, collect_stall_signals
from console.core.metrics.statistics import counter_increase, counter_increases
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record, field
from console.core.text.formatting import sanitize_text
from console.core.text.json_values import as_count, as_number, as_text

SUCCESS_RATE_WINDOW_S = 3600.0
"""The success rate covers this many seconds before the newest sample."""
THROUGHPUT_WINDOW_S = 600.0
"""The throughput covers this many seconds before the newest sample."""
MAX_WATCHED_TASKS = 3
"""At most this many tasks are watched until a worker has answered them."""
MAX_OUTPUT_CHARS = 300
"""Characters of a wrong canary's output that are reported."""
_PROOF_FILE_KEYS = (("watchdog", "heartbeat_at"), ("pipeline", "generated_at"))


class QueueMetrics(Record, frozen=True):
    """Metrics of the work, from all samples of all monitors."""

    last_answered: Sample | None = None
    """The newest sample of the queue with figures."""
    is_current: bool = False
    """True if `last_answered` is the newest sample of the queue."""
    success_rate: float | None = None
    """Percent of the tasks that ended in the last hour; None if no task ended."""
    latency_s: float | None = None
    """Latency of the newest canary; None if it failed."""
    last_finished: Moment | None = None
    """When a worker was last observed to have finished a task. A ping, which the server answers
    itself, and a counter that rises are no evidence."""
    drain_s: float | None = None
    """Estimated seconds until the waiting tasks are done, at the throughput of the last minutes."""
    proofs_of_work: Mapping[str, Moment] = field(default_factory=dict)
    """Role -> lower bound of the time of the last work observed; existence alone is no work.

    Work observed between two samples may have been done right after the first one, by a process
    that has died since.
    """
    stall_signals: StallSignals = StallSignals()
    """Signals that identify a worker that does no work."""
    last_loss: QueueLoss | None = None
    """The loss of the queue server's last restart, within the last hour."""


def compute_queue_metrics(histories: Mapping[str, Sequence[Sample]]) -> QueueMetrics:
    """Return the metrics that only a new sample can change.

    `histories` maps each monitor to its samples, oldest first.
    """
    queue, canary = histories.get("queue", ()), histories.get("canary", ())
    answered = next((sample for sample in reversed(queue) if has_figures(sample)), None)
    succeeded, ended = count_ended_tasks(
        sample for sample in samples_within(queue, SUCCESS_RATE_WINDOW_S) if sample.error is None
    )
    worked_since, finished = _last_finished_task(queue)
    last_success = next(
        (sample for sample in reversed(canary) if sample.data.get("ok") is True), None
    )
    last_returned = last_success.moment if last_success else None
    return QueueMetrics(
        last_answered=answered,
        is_current=answered is not None and answered is queue[-1],
        success_rate=100.0 * succeeded / ended if ended else None,
        latency_s=_canary_latency_s(canary),
        last_finished=finished.latest(last_returned) if finished else last_returned,
        drain_s=_estimate_drain_s(queue, answered),
        proofs_of_work=_collect_proofs_of_work(histories, answered, worked_since),
        stall_signals=collect_stall_signals(histories),
        last_loss=find_last_loss(samples_within(queue, SUCCESS_RATE_WINDOW_S)),
    )


def canary_output(canary: Sample) -> str:
    """Return the beginning of a wrong canary's output, sanitized; empty if it is not wrong."""
    output = as_text(canary.data.get("output")) if canary.data.get("ok") is False else None
    return sanitize_text(output or "", MAX_OUTPUT_CHARS)


def count_ended_tasks(queue: Iterable[Sample]) -> tuple[float, float]:
    """Return (succeeded, ended) over samples, oldest first, of counters that restart at 0.

    Pings, which the server answers itself, are subtracted as far as they were counted.
    """
    samples = [*queue]
    counters = (
        (as_count(sample.data.get("successful")), as_count(sample.data.get("failed")))
        for sample in samples
    )
    readings = [(good, bad) for good, bad in counters if good is not None and bad is not None]
    good, bad = counter_increases(readings) if readings else (0.0, 0.0)
    pings = [n for sample in samples if (n := as_count(sample.data.get("pings"))) is not None]
    good = max(0.0, good - counter_increase(pings))
    return good, good + bad


def samples_within(samples: Sequence[Sample], within_s: float) -> list[Sample]:
    """Return the samples of the last `within_s` seconds before the newest one, oldest first."""
    if not samples:
        return []
    newest = samples[-1].moment
    recent = takewhile(lambda sample: newest.since(sample.moment) <= within_s, reversed(samples))
    return [*recent][::-1]


def _canary_latency_s(canary: Sequence[Sample]) -> float | None:
    ok = bool(canary) and canary[-1].data.get("ok") is True
    return as_number(canary[-1].data.get("latency_s")) if ok else None


def _last_finished_task(queue: Sequence[Sample]) -> tuple[Moment | None, Moment | None]:
    """Return a lower bound of the time of the last work, and when its task was seen finished.

    (None, None) if no worker was observed at work.
    """
    for sample in reversed(queue):
        worked_s, answered_s = (as_number(sample.data.get(k)) for k in ("worked_s", "answered_s"))
        if worked_s is not None:
            return sample.moment.plus(-worked_s), sample.moment.plus(-(answered_s or 0.0))
    return None, None


def _estimate_drain_s(queue: Sequence[Sample], last_answered: Sample | None) -> float | None:
    """Return the seconds that the waiting tasks take at the throughput of the busy time.

    Between two samples, a few tasks are counted one by one, as a worker was observed to finish
    them; more than MAX_WATCHED_TASKS are counted by the `completed` counter, which pings raise as
    well. None if the queue size is unknown, or no worker was observed to finish a task.
    """
    size = as_count(last_answered.data.get("size")) if last_answered else None
    if not size:
        return 0.0 if size == 0 else None
    samples = [
        sample for sample in samples_within(queue, THROUGHPUT_WINDOW_S) if has_figures(sample)
    ]
    done, busy_s, watched = 0, 0.0, 0
    for before, after in pairwise(samples):
        busy = as_count(before.data.get("size")) or as_count(before.data.get("inflight"))
        if not busy:
            continue
        busy_s += after.moment.since(before.moment)
        one_by_one = _increase_between(before, after, "answered")
        counted = _increase_between(before, after, "completed")
        watched += one_by_one
        done += counted if counted > MAX_WATCHED_TASKS else one_by_one
    return size * busy_s / done if done and watched else None


def _increase_between(before: Sample, after: Sample, key: str) -> int:
    """Return the increase of a counter, 0 if unknown. A counter that fell restarted at 0."""
    old, new = as_count(before.data.get(key)), as_count(after.data.get(key))
    if old is None or new is None:
        return 0
    return new - old if new >= old else new


def _last_canary_sent(canary: Sequence[Sample]) -> Moment | None:
    """Return when the newest canary that succeeded was sent, or None."""
    for sample in reversed(canary):
        if sample.data.get("ok") is True:
            return sample.moment.plus(-(as_number(sample.data.get("latency_s")) or 0.0))
    return None


def _collect_proofs_of_work(
    histories: Mapping[str, Sequence[Sample]],
    last_answered: Sample | None,
    worked_since: Moment | None,
) -> dict[str, Moment]:
    proofs, canary_sent = {}, _last_canary_sent(histories.get("canary", ()))
    if moments := [moment for moment in (canary_sent, worked_since) if moment is not None]:
        first, last = moments[0], moments[-1]
        proofs["worker"] = first if first.later_than(last) else last
    if last_answered is not None:
        proofs["queue"] = last_answered.moment
    return proofs | file_proofs(histories)


def file_proofs(histories: Mapping[str, Sequence[Sample]]) -> dict[str, Moment]:
    """Return role -> the newest time of work that the role itself wrote to its file."""
    proofs = {}
    for name, key in _PROOF_FILE_KEYS:
        times = (as_number(sample.data.get(key)) for sample in reversed(histories.get(name, ())))
        if (at := next((at for at in times if at is not None), None)) is not None:
            proofs[name] = Moment(float(at))
    return proofs
