"""Reads the server's list of results rarely and within bounds: it is unpaged and unbounded."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from console.core.metrics.task_outcomes import (
    TaskOutcomes,
    encode_outcomes,
    parse_result_items,
    summarize_results,
)
from console.core.model.time import Moment
from console.core.records import Component, replace
from console.core.text.json_values import as_number, parse_local_time
from console.monitors._queue_client import request_tail
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError


class WatchedTasks(Protocol):
    """The tasks that the caller watches."""

    watched_results: list[Mapping[str, Any]]
    """Results of watched tasks, oldest first."""
    task_types: dict[str, str]
    """Task id -> type."""


MAX_RESULTS, MAX_BYTES, KEPT_BYTES = 20_000, 8_000_000, 262_144
"""Limits of a list that is read, in results and in bytes; and the bytes kept of its end."""
REREAD_DELAY_FACTOR = 20.0
"""After a read, the list is not read again for this many times the duration of that read."""
TOO_MANY_RESULTS = "results too many to read"
_COUNT_PATTERN = re.compile(r'"count"\s*:\s*(\d{1,12})\s*\}\s*$')


class ResultsReader(Component):
    """The known results of one run of a queue server."""

    completed: int = -1
    failed: int = -1
    """The counters at the last update."""
    known_outcomes: TaskOutcomes | None = None
    last_failure_at: Moment | None = None
    """Latest possible time of the last known failure of a task."""
    last_read_at: Moment | None = None
    read_duration_s: float = 0.0
    read_error: str = ""

    def update(
        self,
        tasks: WatchedTasks,
        excluded: Collection[str],
        settings: Settings,
        sample_data: dict[str, Any],
        completed: int,
        failed: int,
        now: Moment,
    ) -> None:
        """Read the results if that is due, and put the known outcomes into `sample_data`.

        `excluded`: the ids of tasks that do not count.
        """
        if failed > self.failed >= 0:
            self.last_failure_at = now
        if self._is_due(completed, failed, now):
            self._read_results(tasks.task_types, excluded, settings, sample_data, completed, now)
        self.completed, self.failed = completed, failed
        if self.read_error:
            sample_data["results_note"] = self.read_error
            watched_outcomes = summarize_results(tasks.watched_results, tasks.task_types)
            sample_data["errors"] = [list(error) for error in watched_outcomes.errors] or None
        elif self.known_outcomes is not None and (
            self.known_outcomes.failed or self.known_outcomes.consecutive_failures
        ):
            age_s = (
                now.since(self.last_failure_at)
                if self.last_failure_at
                else self.known_outcomes.last_failure_age_s
            )
            sample_data["tail"] = encode_outcomes(
                replace(self.known_outcomes, last_failure_age_s=age_s)
            )

    def _is_due(self, completed: int, failed: int, now: Moment) -> bool:
        """Return True if the list may have news, and may be read.

        It is read at first, after a failure, and until the last tasks have succeeded.
        """
        if completed > MAX_RESULTS:
            self.read_error = TOO_MANY_RESULTS if failed else ""
            return False
        if self.read_error.startswith(TOO_MANY_RESULTS):
            return False
        if (
            self.last_read_at is not None
            and now.since(self.last_read_at) < REREAD_DELAY_FACTOR * self.read_duration_s
        ):
            return False
        outcomes = self.known_outcomes
        has_failures = outcomes is not None and bool(
            outcomes.failed or outcomes.consecutive_failures
        )
        return self.completed < 0 or failed > self.failed or (
            (has_failures or bool(self.read_error)) and completed > self.completed
        )  # fmt: skip

    def _read_results(
        self,
        task_types: Mapping[str, str],
        excluded: Collection[str],
        settings: Settings,
        sample_data: dict[str, Any],
        completed: int,
        now: Moment,
    ) -> None:
        self.last_read_at, self.read_error = now, ""
        try:
            response = request_tail(
                settings,
                "/api/results",
                max_bytes=MAX_BYTES,
                kept_bytes=KEPT_BYTES,
                counted_word=b'"task_id"',
            )
        except HttpError as error:
            larger = str(error).startswith("answer larger")
            self.read_error = TOO_MANY_RESULTS if larger else f"results cannot be read: {error}"
            self.read_duration_s = settings.queue.timeout_s
            return
        self.read_duration_s = response.elapsed_s
        body = response.raw.decode(errors="replace")
        results = parse_result_items(body)
        if not results and completed:
            self.read_error = "results cannot be read: no result in the list's end"
            return
        count_match = _COUNT_PATTERN.search(body)
        sample_data["pings"] = max(
            0, (int(count_match[1]) if count_match else completed) - response.word_count
        )
        if self.last_failure_at is None:
            self.last_failure_at = _newest_failure_time(results, sample_data, now)
        self.known_outcomes = summarize_results(results, task_types, excluded)


def _newest_failure_time(
    results: list[dict[str, Any]], sample_data: dict[str, Any], now: Moment
) -> Moment:
    """Return when the newest failure was recorded, corrected by the server's clock offset.

    `now` if the time is unknown.
    """
    for result in reversed(results):
        if result.get("success") is not True:
            at = parse_local_time(result.get("submitted_at"), now)
            offset_s = sum(
                as_number(sample_data.get(key)) or 0.0 for key in ("clock_off_s", "zone_s")
            )
            return now if at is None else now.plus(-max(0.0, now.at - (at - offset_s)))
    return now
