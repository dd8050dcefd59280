"""The queue: its sizes and counters, at a cost that does not grow with its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.core.baseline.thresholds import Thresholds
from console.core.metrics import task_outcomes
from console.core.metrics.queue_metrics import (
    SUCCESS_RATE_WINDOW_S,
    count_ended_tasks,
    samples_within,
)
from console.core.metrics.statistics import wilson_interval
from console.core.metrics.task_outcomes import (
    DEFAULT_CRITICAL_PERCENT,
    DEFAULT_WARNING_PERCENT,
    FailureFinding,
    assess_failures,
)
from console.core.model.samples import Health, HealthState, Sample
from console.core.model.time import Moment
from console.core.records import replace
from console.core.text.formatting import format_duration, sanitize_text
from console.core.text.json_values import (
    as_count,
    as_number,
    as_object,
    as_text,
    parse_local_time,
    zone_difference_s,
)
from console.monitors._queue_client import is_reachable, request_json
from console.monitors._thresholds import Limit, choose_limit
from console.system import clock
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError
from console.system.threads import run_in_thread

if TYPE_CHECKING:
    from console.system.box import Box

NAME = "queue"
KIND_SILENT, KIND_TASKS, KIND_LONG = "silent", "tasks", "long"
"""The kinds of failing health: no usable answer, failing tasks, too many waiting tasks."""
SAMPLE_FIELDS = (
    "size", "urgent", "normal", "low", "inflight", "completed", "successful", "failed",
    "oldest_s", "oldest_lease_s", "lease_task", "elapsed_s", "clock_off_s", "zone_s", "status",
    "problem",
    "answered", "worked_s", "answered_s", "vanished", "pings", "tail", "errors", "results_note",
    "overrun_task", "overrun_s",
)  # fmt: skip
MAX_LISTED_TASKS = 200
"""Up to this many waiting tasks are listed, to find the oldest one and those to watch."""
DEFAULT_WARN_ABOVE, DEFAULT_FAIL_ABOVE = 5, 20
"""Waiting tasks: up to 5 are normal, up to 20 are mentioned, more are failing."""
REACHABILITY_TIMEOUT_S = 1.0
CLOCK_TOLERANCE_S = 60.0
LEASE_WARN_FRACTION = 0.75
"""A task in work is mentioned when this fraction of its lease has passed."""


def every(settings: Settings) -> float:
    """Return the interval between two samples, in seconds."""
    return settings.monitors.queue.every_s


def enabled(settings: Settings) -> bool:
    return settings.monitors.queue.enabled


async def probe(box: Box) -> Sample:
    """Request health and counters. An unusable answer is a problem in the sample, no error."""
    # One thread for all requests: a thread costs as much as a request.
    return await run_in_thread(take_sample, box)


def take_sample(box: Box) -> Sample:
    """Return the sample of `probe`, for a caller without an event loop."""
    sample_data: dict[str, Any] = dict.fromkeys(SAMPLE_FIELDS)
    try:
        started_at = clock.monotonic()
        health = as_object(request_json(box.settings, "/api/health"))
        sample_data["elapsed_s"] = round(clock.monotonic() - started_at, 4)
        sample_data.update(_parse_health(health, box.now()))
        stats = as_object(request_json(box.settings, "/api/stats"))
        sample_data.update(_parse_stats(stats, sample_data))
        _inspect_tasks(box, sample_data)
    except HttpError as error:
        sample_data["problem"] = str(error)
    return Sample(NAME, box.now(), sample_data)


def _parse_health(answer: Mapping[str, Any], now: Moment) -> dict[str, Any]:
    server_time = parse_local_time(answer.get("timestamp"), now)
    off_s = 0.0 if server_time is None else server_time - now.at
    zone_s = zone_difference_s(off_s, CLOCK_TOLERANCE_S)  # the server does not report its time zone
    status = as_text(answer.get("status"), 60)
    return {
        "size": as_count(answer.get("queue_size")),
        "urgent": as_count(answer.get("queue_urgent")),
        "normal": as_count(answer.get("queue_normal")),
        "low": as_count(answer.get("queue_low")),
        "clock_off_s": None if server_time is None else round(off_s - zone_s, 1),
        "zone_s": None if server_time is None else zone_s,
        "status": None if status is None else sanitize_text(status),
    }


def server_clock_offset_s(sample_data: Mapping[str, Any]) -> float:
    """Return the seconds that the server's clock is ahead of ours, time zone included."""
    return sum(as_number(sample_data.get(key)) or 0.0 for key in ("clock_off_s", "zone_s"))


def _parse_stats(answer: Mapping[str, Any], sample_data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counters, and those sizes that the health answer did not have."""
    counters = ("inflight", "completed", "successful", "failed")
    sizes = {"size": "pending", **{name: f"pending_{name}" for name in ("urgent", "normal", "low")}}
    return {name: as_count(answer.get(name)) for name in counters} | {
        name: as_count(answer.get(key)) for name, key in sizes.items() if sample_data[name] is None
    }


def _inspect_tasks(box: Box, sample_data: dict[str, Any]) -> None:
    """List the waiting tasks (if there are few) and the tasks in work, and read the results.

    The findings are put into `sample_data`.
    """
    from console.monitors._watched_tasks import (  # not needed for judging only
        get_watcher,
        parse_leases,
        parse_waiting_tasks,
    )

    requested_at = box.now()
    waiting: list[Mapping[str, Any]] | None = None if sample_data["size"] else []
    if sample_data["size"] and sample_data["size"] <= MAX_LISTED_TASKS:
        waiting = parse_waiting_tasks(request_json(box.settings, "/api/tasks"))
        now = box.now()
        off_s = server_clock_offset_s(sample_data)
        times = [parse_local_time(task.get("created_at"), now) for task in waiting]
        sample_data["oldest_s"] = max(
            (max(0.0, now.at - at + off_s) for at in times if at is not None), default=None
        )
    leases: list[Mapping[str, Any]] = []
    if sample_data["inflight"]:
        leases = parse_leases(request_json(box.settings, "/api/inflight"))
        oldest = next(
            (lease for lease in leases if as_number(lease.get("age_sec")) is not None), None
        )
        if oldest is not None:
            sample_data["oldest_lease_s"] = as_number(oldest.get("age_sec"))
            words = (as_text(oldest.get(key), 60) for key in ("type", "task_id"))
            sample_data["lease_task"] = (
                sanitize_text(" ".join(word for word in words if word)) or None
            )
    watcher = get_watcher(box.name, box.settings)
    watcher.update(box.settings, sample_data, waiting, leases, requested_at, box.now())
    watcher.read_results(box.settings, sample_data, box.now())


def is_answering(sample: Sample) -> bool:
    """Return True if the server answered when the sample was taken."""
    return sample.error is None and sample.data.get("problem") is None


def sample_if_changed(box: Box, last_sample: Sample) -> Sample | None:
    """Return a new sample if the server has started or stopped answering since `last_sample`.

    Else None. One request, bounded by `REACHABILITY_TIMEOUT_S`, decides whether a sample is worth
    its cost.
    """
    deadline_s = min(REACHABILITY_TIMEOUT_S, box.settings.queue.timeout_s)
    if is_reachable(box.settings, "/api/health", deadline_s) is is_answering(last_sample):
        return None
    return take_sample(box)


def judge(
    history: Sequence[Sample], now: Moment, settings: Settings, learnt: Thresholds | None = None
) -> Health:
    """Return the health; a refused connection is failing at once.

    No answer, and too many waiting tasks (20, unless configured or learnt), may be transient: they
    are failing only if seen in two samples in a row. Failing tasks are judged by the last 20 and
    the last 100 tasks and by the last hour. A rate under a configured or learnt limit counts if
    chance alone does not explain it.
    """
    if not history:
        return Health(HealthState.UNKNOWN, "not looked yet")
    last = history[-1]
    before = history[-2].data if len(history) > 1 and history[-2].error is None else {}
    if last.error is not None:
        return Health(HealthState.UNKNOWN, last.error)
    if problem := as_text(last.data.get("problem")):
        is_certain = problem == "refused" or as_text(before.get("problem"))
        state = HealthState.FAILING if is_certain else HealthState.UNKNOWN
        return Health(state, result(last), kind=KIND_SILENT)
    size = as_count(last.data.get("size"))
    if size is None:
        return Health(HealthState.UNKNOWN, "the server does not tell its size")
    if (status := as_text(last.data.get("status"))) not in (None, "ok"):
        return Health(HealthState.FAILING, f"the server says {status!r}", kind=KIND_SILENT)
    monitor_settings, thresholds = settings.monitors.queue, learnt or Thresholds()
    limit = choose_limit(monitor_settings.fail_above, thresholds.queue_warning, DEFAULT_FAIL_ABOVE)
    long_queue_text = ""
    if limit and size > limit.value and (as_count(before.get("size")) or 0) > limit.value:
        long_queue_text = f"{size} tasks wait{limit.describe('above')}"
    if shortfall := _find_shortfall(history, now, settings, thresholds):
        reason = "; ".join(filter(None, (shortfall.message, long_queue_text)))
        return Health(
            HealthState.FAILING,
            reason,
            severe=shortfall.is_down,
            kind=KIND_TASKS,
            critical=shortfall.is_critical,
        )
    if long_queue_text:  # a stalled worker is a graver finding of its own
        return Health(HealthState.FAILING, long_queue_text, severe=False, kind=KIND_LONG)
    warn_limit = choose_limit(
        monitor_settings.warn_above, thresholds.queue_normal, DEFAULT_WARN_ABOVE
    )
    remarks = (
        _clock_offset_text(last.data),
        _expiring_lease_text(last.data, settings.queue.lease_s),
        f"{size} tasks wait{warn_limit.describe('above')}"
        if warn_limit and size > warn_limit.value
        else "",
    )
    return Health(HealthState.OK, "; ".join(filter(None, remarks)))


def _find_shortfall(
    history: Sequence[Sample], now: Moment, settings: Settings, thresholds: Thresholds
) -> FailureFinding | None:
    """Return the finding on failing tasks, or None.

    The default limits are checked first, then a configured or learnt one.
    """
    configured = settings.monitors.queue.success_rate
    warning = (
        DEFAULT_WARNING_PERCENT if configured is None else min(DEFAULT_WARNING_PERCENT, configured)
    )
    finding = assess_failures(history, now, warning, min(DEFAULT_CRITICAL_PERCENT, warning))
    if finding is None:
        # One failure in an hour is within the target, even after a baseline without failures.
        learnt_rate = thresholds.success_rate
        learnt_limit = (
            None if learnt_rate is None else min(learnt_rate, settings.baseline.success_rate)
        )
        shortfall_text = _low_success_text(history, choose_limit(configured, learnt_limit, None))
        return FailureFinding(shortfall_text) if shortfall_text else None
    data = history[-1].data
    errors = task_outcomes.errors_of_sample(data)
    return (
        replace(finding, message=f"{finding.message}: {task_outcomes.format_errors(errors)}")
        if errors
        else finding
    )


def _low_success_text(history: Sequence[Sample], min_rate: Limit | None) -> str:
    """Return a text if fewer tasks than `min_rate` succeeded in the last hour, else "".

    The whole confidence interval of the rate must be below the limit.
    """
    if min_rate is None:
        return ""
    succeeded, ended = count_ended_tasks(samples_within(history, SUCCESS_RATE_WINDOW_S))
    interval = wilson_interval(succeeded, ended)
    if interval is None or 100 * interval[1] >= min_rate.value:
        return ""
    share = f"{100 * succeeded / ended:.1f} % of {ended:.0f} tasks succeeded in the last hour"
    return share + min_rate.describe("under", " %")


def _clock_offset_text(data: Mapping[str, Any]) -> str:
    offset_s = as_number(data.get("clock_off_s"))
    if offset_s is None or abs(offset_s) <= CLOCK_TOLERANCE_S:
        return ""
    return f"server clock off by {'-' if offset_s < 0 else '+'}{format_duration(abs(offset_s))}"


def _expiring_lease_text(data: Mapping[str, Any], lease_s: float) -> str:
    """Return a text if the server will soon give a task in work to another worker too, else ""."""
    held_s = as_number(data.get("oldest_lease_s"))
    if held_s is None or held_s < LEASE_WARN_FRACTION * lease_s:
        return ""
    remaining_s = lease_s - held_s
    when = f"in {format_duration(remaining_s)}" if remaining_s > 0 else "at any moment"
    return f"a task in work for {format_duration(held_s)} is queued again {when}"


def result(sample: Sample) -> str:
    """Return `3 waiting, 1 in work, 24 done, 1 failed`; `?` for values that are unknown."""
    problem = sample.error or as_text(sample.data.get("problem"))
    if problem:
        return sanitize_text(f"no answer: {problem}" if sample.error is None else problem, 200)
    labels = {"size": "waiting", "inflight": "in work", "completed": "done", "failed": "failed"}
    counts = {key: as_count(sample.data.get(key)) for key in labels}
    return ", ".join(f"{'?' if counts[k] is None else counts[k]} {labels[k]}" for k in labels)
