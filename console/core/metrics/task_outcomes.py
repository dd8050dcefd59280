"""Summarizes the outcomes of the last tasks: failures, failures in a row, types and errors."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from console.core.metrics.queue_metrics import (
    SUCCESS_RATE_WINDOW_S,
    count_ended_tasks,
    samples_within,
)
from console.core.model.samples import Sample
from console.core.model.time import Moment
from console.core.records import Record
from console.core.text.formatting import sanitize_text
from console.core.text.json_values import as_count, as_list, as_number, as_object, as_text

RECENT_TASKS, MIN_FAILURES, MAX_RATE_TASKS = 20, 10, 100
"""Number of last tasks considered; number of failures among them, or in a row, that are a finding;
maximum number of tasks over which a rate is computed."""
DEFAULT_WARNING_PERCENT, DEFAULT_CRITICAL_PERCENT = 85.0, 70.0
"""Percent of tasks that must succeed where nothing is configured: a lower rate is a warning, or
critical."""
_LIST_END = re.compile(r'\s*\](\s*,\s*"\w{1,40}"\s*:\s*[\w.:"+-]{0,80})*\s*\}?\s*')
"""The end of the list and of the response."""
_BODY_START = re.compile(r"\s*\{[^\[\]{}]{0,200}(?=\[)")
"""The beginning of a response that is present from its first character on."""
_ITEM_SEPARATOR = re.compile(r"\s*,\s*(?=\{)")
MAX_PARSE_ATTEMPTS = 10_000
"""Maximum number of positions that are tried as the beginning of an item."""
MAX_ERROR_KINDS = 5
"""Number of different errors that are kept per reading."""
MAX_ERROR_CHARS = 120
"""Characters of an error that are kept."""
UNKNOWN_TYPE = "?"


class TaskOutcomes(Record, frozen=True):
    """Outcomes of the last tasks with a known result, counted from the newest."""

    n: int = 0
    """Number of the last 20 tasks whose result is known."""
    failed: int = 0
    """Number of those that failed."""
    consecutive_failures: int = 0
    """Number of failures after the last success."""
    rate_successes: int = 0
    rate_total: int = 0
    """`rate_successes`: successes among the last 100 tasks. `rate_total`: number of the last 100
    tasks whose result is known."""
    errors: tuple[tuple[str, str, int], ...] = ()
    """(task type, error, count) among the last 20 tasks, most frequent first."""
    last_failure_age_s: float = 0.0
    """Seconds from the newest failure to the reading."""


# --- reading results ------------------------------------------------------------------------


def parse_result_items(body: str) -> list[dict[str, Any]]:
    """Return the complete items at the end of a results list in JSON text, oldest first.

    The beginning of `body` may be missing. An item is an object that follows the list's bracket or
    a comma, and from which objects follow one another up to the end of the list and the response.
    The result is empty if one of the objects has no `success`.
    """
    decoder, at = json.JSONDecoder(), 0
    if (body_start := _BODY_START.match(body)) is not None:
        at = body_start.end()
    for _ in range(MAX_PARSE_ATTEMPTS):
        at = body.find("{", at)
        if at < 0:
            break
        items: list[dict[str, Any]] = []
        if body[max(0, at - 20) : at].rstrip()[-1:] in (",", "[", ""):
            end = _decode_consecutive(decoder, body, at, items)
            if items and _LIST_END.fullmatch(body, end):
                return items if all("success" in item for item in items) else []
            at = max(at, end - 1)  # an object within a complete object is no item
        at += 1
    return []


def _decode_consecutive(
    decoder: json.JSONDecoder, body: str, at: int, found: list[dict[str, Any]]
) -> int:
    """Append the consecutive objects from `at` on to `found`; return the end of the last one."""
    end = at
    while True:
        try:
            item, end = decoder.raw_decode(body, at)
        except (ValueError, RecursionError):
            return end
        found.append(item)
        comma = _ITEM_SEPARATOR.match(body, end)
        if comma is None:
            return end
        at = comma.end()


def summarize_results(
    results: Sequence[Mapping[str, Any]],
    task_types: Mapping[str, str],
    ignored_tasks: Collection[str] = (),
    age_s: float = 0.0,
) -> TaskOutcomes:
    """Return the outcomes of the last tasks from their results, oldest first.

    A result without a task ID was written by the server itself (a ping) and does not count; neither
    do the tasks in `ignored_tasks`. `task_types` maps task IDs to types, as far as known. `age_s`
    becomes `last_failure_age_s`.
    """
    counted = [item for item in results if _is_counted(item, ignored_tasks)][-MAX_RATE_TASKS:]
    recent = counted[-RECENT_TASKS:]
    streak = 0
    for item in reversed(counted):
        if item.get("success") is True:
            break
        streak += 1
    failures = [item for item in recent if item.get("success") is not True]
    error_counts = Counter((_task_type(item, task_types), _error_text(item)) for item in failures)
    return TaskOutcomes(
        len(recent),
        len(failures),
        streak,
        sum(item.get("success") is True for item in counted),
        len(counted),
        tuple(
            (kind, error, times)
            for (kind, error), times in error_counts.most_common(MAX_ERROR_KINDS)
        ),
        age_s,
    )


def _is_counted(item: Mapping[str, Any], ignored_tasks: Collection[str]) -> bool:
    task = as_text(item.get("task_id"), 200)
    return bool(task) and task not in ignored_tasks


def _task_type(item: Mapping[str, Any], task_types: Mapping[str, str]) -> str:
    data = as_object(item.get("data"))
    known_type = task_types.get(as_text(item.get("task_id"), 200) or "")
    candidates = (as_text(data.get(key), 60) for key in ("type", "task_type", "action"))
    return sanitize_text(
        known_type or next((candidate for candidate in candidates if candidate), UNKNOWN_TYPE), 60
    )


def _error_text(item: Mapping[str, Any]) -> str:
    data = as_object(item.get("data"))
    error = as_text(item.get("error")) or as_text(data.get("error")) or as_text(data.get("message"))
    return sanitize_text(" ".join((error or "no error text").split()), MAX_ERROR_CHARS)


# --- encoding in a sample -------------------------------------------------------------------


def encode_outcomes(recent_outcomes: TaskOutcomes) -> dict[str, Any]:
    """Return the outcomes as plain JSON values."""
    return {
        "n": recent_outcomes.n,
        "failed": recent_outcomes.failed,
        "row": recent_outcomes.consecutive_failures,
        "good": recent_outcomes.rate_successes,
        "of": recent_outcomes.rate_total,
        "errors": [list(error) for error in recent_outcomes.errors],
        "age_s": round(recent_outcomes.last_failure_age_s, 1),
    }


def decode_outcomes(value: object) -> TaskOutcomes | None:
    """Return the inverse of `encode_outcomes`; None for any other value."""
    fields = as_object(value)
    n, failed, row, good, of = (
        as_count(fields.get(k)) for k in ("n", "failed", "row", "good", "of")
    )
    if n is None or failed is None or row is None or good is None or of is None:
        return None
    return TaskOutcomes(
        n,
        failed,
        row,
        good,
        of,
        _decode_errors(fields.get("errors")),
        as_number(fields.get("age_s")) or 0.0,
    )


def _decode_errors(value: object) -> tuple[tuple[str, str, int], ...]:
    rows = ((*as_list(row), None, None, None)[:3] for row in as_list(value)[:MAX_ERROR_KINDS])
    return tuple(
        (
            as_text(kind, 60) or UNKNOWN_TYPE,
            as_text(error, MAX_ERROR_CHARS) or "?",
            as_count(times) or 1,
        )
        for kind, error, times in rows
    )


def errors_of_sample(sample_data: Mapping[str, Any]) -> tuple[tuple[str, str, int], ...]:
    """Return the last errors in a sample of the queue, from the results or from watched tasks."""
    outcomes = decode_outcomes(sample_data.get("tail"))
    return outcomes.errors if outcomes is not None else _decode_errors(sample_data.get("errors"))


def outcomes_from_counters(history: Sequence[Sample]) -> TaskOutcomes:
    """Return the outcomes of the last tasks from the counters in the last hour's samples alone."""
    samples = [
        sample for sample in samples_within(history, SUCCESS_RATE_WINDOW_S) if sample.error is None
    ]
    readings = [
        (good, bad, sample.moment)
        for sample in samples
        if (good := as_count(sample.data.get("successful"))) is not None
        and (bad := as_count(sample.data.get("failed"))) is not None
    ]
    total_good, total_bad, streak, streak_unbroken = 0, 0, 0, True
    n, failed = 0, 0
    age_s: float | None = None
    for before, after in zip(readings[-2::-1], readings[:0:-1], strict=True):
        fell = after[0] < before[0] or after[1] < before[1]
        good = after[0] if fell else after[0] - before[0]
        bad = after[1] if fell else after[1] - before[1]
        if bad and age_s is None:
            age_s = readings[-1][2].since(after[2])
        streak_unbroken = streak_unbroken and not good
        streak += bad if streak_unbroken else 0
        total_good, total_bad = total_good + good, total_bad + bad
        if n < RECENT_TASKS and good + bad:
            fraction = min(1.0, (RECENT_TASKS - n) / (good + bad))
            n, failed = n + round(fraction * (good + bad)), failed + round(fraction * bad)
        if total_good + total_bad >= MAX_RATE_TASKS:
            break
    return TaskOutcomes(n, failed, streak, total_good, total_good + total_bad, (), age_s or 0.0)


def latest_outcomes(history: Sequence[Sample]) -> tuple[TaskOutcomes, Moment | None]:
    """Return the outcomes as of the newest sample, and the latest time of the newest failure.

    Results that were read take precedence over counters, unless only the counters show failures.
    The time is None if no task failed.
    """
    last = next((sample for sample in reversed(history) if sample.error is None), None)
    if last is None:
        return TaskOutcomes(), None
    from_results = decode_outcomes(last.data.get("tail"))
    from_counters = outcomes_from_counters(history)
    outcomes = from_results or from_counters
    if from_results is not None and not from_results.failed and from_counters.consecutive_failures:
        outcomes = from_counters
    return outcomes, last.moment.plus(
        -outcomes.last_failure_age_s
    ) if outcomes.failed or outcomes.consecutive_failures else None


# --- assessment -----------------------------------------------------------------------------


class FailureFinding(Record, frozen=True):
    """A finding about failing tasks."""

    message: str
    is_down: bool = False
    is_critical: bool = False


def assess_failures(
    history: Sequence[Sample],
    now: Moment,
    warning: float = DEFAULT_WARNING_PERCENT,
    critical: float = DEFAULT_CRITICAL_PERCENT,
) -> FailureFinding | None:
    """Return the worst finding about the last tasks and the last hour, or None.

    `warning` and `critical` are percent. Failures that are more than an hour old, or followed by 20
    successes, do not count.
    """
    outcomes, last_failure = latest_outcomes(history)
    if last_failure is not None and now.since(last_failure) <= SUCCESS_RATE_WINDOW_S:
        if outcomes.consecutive_failures >= MIN_FAILURES:
            return FailureFinding(
                f"the last {outcomes.consecutive_failures} tasks failed", True, True
            )
        if outcomes.n >= MIN_FAILURES and outcomes.failed >= MIN_FAILURES:
            return FailureFinding(
                f"{outcomes.failed} of the last {outcomes.n} tasks failed", is_critical=True
            )
        rate = (
            100.0 * outcomes.rate_successes / outcomes.rate_total
            if outcomes.rate_total >= RECENT_TASKS
            else 100.0
        )
        if rate < warning and outcomes.failed:
            message = f"{rate:.1f} % of the last {outcomes.rate_total} tasks succeeded"
            return FailureFinding(
                message + _limit_text(rate, warning, critical), is_critical=rate < critical
            )
    if outcomes.n >= RECENT_TASKS and not outcomes.failed:
        return None  # earlier failures do not count
    good, ended = count_ended_tasks(samples_within(history, SUCCESS_RATE_WINDOW_S))
    rate = 100.0 * good / ended if ended >= RECENT_TASKS else 100.0
    if rate < warning:
        message = f"{rate:.1f} % of {ended:.0f} tasks succeeded in the last hour"
        return FailureFinding(
            message + _limit_text(rate, warning, critical), is_critical=rate < critical
        )
    return None


def _limit_text(rate: float, warning: float, critical: float) -> str:
    return f", under {critical if rate < critical else warning:g} %"


def format_errors(errors: Iterable[tuple[str, str, int]], max_kinds: int = 2) -> str:
    """Return at most `max_kinds` errors as text: `3 × ocr: "no text", 1 × "timed out"`.

    An unknown type is omitted. The number of further kinds is appended.
    """
    texts = [f'{n} × {task_type_prefix(kind)}"{error}"' for kind, error, n in errors]
    more = f", {len(texts) - max_kinds} more kinds" if len(texts) > max_kinds else ""
    return ", ".join(texts[:max_kinds]) + more


def task_type_prefix(kind: str) -> str:
    """Return a task's type as a prefix of its error; empty if the type is unknown."""
    return "" if kind == UNKNOWN_TYPE else f"{kind}: "
