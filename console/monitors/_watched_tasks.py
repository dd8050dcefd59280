"""Chooses the tasks that the queue monitor watches, and follows them to their results.

The server's counters also count pings, which the server answers itself. The proof that a worker
works is a task that was seen waiting or in work and has a result later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from console.core.metrics.queue_metrics import MAX_WATCHED_TASKS
from console.core.model.time import Moment
from console.core.records import Component, field
from console.core.text.formatting import sanitize_text
from console.core.text.json_values import as_count, as_list, as_number, as_object, as_text
from console.monitors._queue_client import request_json
from console.monitors._queue_results import ResultsReader
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError

MAX_TYPES, MAX_RESULTS, MAX_BOXES = 2_000, 100, 8
"""Maximum numbers of remembered task types, of results of watched tasks, and of boxes."""
CANARY_TASK_IDS: dict[str, None] = {}
"""Ids of the canary tasks that this process sent, in order; the values are unused."""


def remember_canary(task_id: str) -> None:
    """Remember a canary's task id: its outcome is no evidence about the real tasks."""
    CANARY_TASK_IDS[task_id] = None
    while len(CANARY_TASK_IDS) > MAX_RESULTS:
        del CANARY_TASK_IDS[next(iter(CANARY_TASK_IDS))]


class TaskWatcher(Component):
    """The tasks of one queue server that this process watches."""

    unfinished_tasks: dict[str, Moment] = field(default_factory=dict)
    """Task id -> time when it was last seen waiting or in work."""
    task_types: dict[str, str] = field(default_factory=dict)
    finished_count: int = 0
    last_proof_of_work: Moment | None = None
    """Time when the task with the newest result was last seen without one."""
    last_finish_seen_at: Moment | None = None
    """Time when that result was first seen."""
    watched_results: list[Mapping[str, Any]] = field(default_factory=list)
    """Results of watched tasks, oldest first."""
    queue_size: int | None = None
    leased_tasks: dict[str, tuple[str, Moment]] = field(default_factory=dict)
    """Task id -> (type, start of work) of the watched tasks that are in work."""
    has_leases: bool = False
    """True if any task was in work at the last sample."""
    pending_canary: tuple[str, Moment] | None = None
    """(Task id, time sent) of the canary of this process that had no result at the last check."""
    results_reader: ResultsReader | None = None

    def update(
        self,
        settings: Settings,
        sample_data: dict[str, Any],
        waiting: Sequence[Mapping[str, Any]] | None,
        leases: Sequence[Mapping[str, Any]],
        requested_at: Moment,
        now: Moment,
    ) -> None:
        """Compare the listed tasks with the previous ones, and put the findings into `sample_data`.

        `waiting`: the waiting tasks in the order of service, or None if they were not listed.
        `leases`: the tasks in work. `requested_at`: the time of the first list's request.
        """
        listed = dict(self._task_ids((*leases, *(waiting or ()))))
        for task_id in [known_id for known_id in self.unfinished_tasks if known_id not in listed]:
            if self._has_result(settings, task_id, now) is False and waiting is not None:
                del self.unfinished_tasks[task_id]
                sample_data["vanished"] = True
        size = as_count(sample_data.get("size"))
        if waiting is None and None not in (size, self.queue_size) and size < self.queue_size:  # type: ignore[operator]
            self._note_progress(requested_at, now)  # pings never wait: a worker took tasks
        self.queue_size = size
        candidates = dict.fromkeys((*dict(self._task_ids(leases)), *self.unfinished_tasks, *listed))
        self.unfinished_tasks = {
            known_id: requested_at if known_id in listed else self.unfinished_tasks[known_id]
            for known_id in [*candidates][:MAX_WATCHED_TASKS]
        }
        self._update_leases(leases, sample_data, now)
        sample_data["answered"] = self.finished_count
        if self.last_proof_of_work is not None and self.last_finish_seen_at is not None:
            sample_data["worked_s"] = round(now.since(self.last_proof_of_work), 3)
            sample_data["answered_s"] = round(now.since(self.last_finish_seen_at), 3)

    def _update_leases(
        self, leases: Sequence[Mapping[str, Any]], sample_data: dict[str, Any], now: Moment
    ) -> None:
        """Remember the tasks in work; report a task whose lease ran out before it had a result.

        The server queues such a task again, and the worker that took it may still be working on it.
        """
        for lease in leases:
            task_id, age = as_text(lease.get("task_id"), 200), as_number(lease.get("age_sec"))
            if task_id in self.unfinished_tasks and age is not None:
                started_at = now.plus(-max(0.0, age))
                self.leased_tasks[task_id] = (
                    sanitize_text(as_text(lease.get("type"), 60) or "a task"),
                    started_at,
                )
        self.leased_tasks = {
            known_id: entry
            for known_id, entry in self.leased_tasks.items()
            if known_id in self.unfinished_tasks
        }
        self.has_leases = bool(leases)
        if (overrun := self.find_overrun_task(now)) is not None:
            sample_data["overrun_task"], sample_data["overrun_s"] = overrun

    def find_overrun_task(self, now: Moment) -> tuple[str, float] | None:
        """Return (type, seconds in work) of the task whose lease ran out, or None."""
        if self.has_leases or not self.leased_tasks:
            return None
        kind, started_at = max(self.leased_tasks.values(), key=lambda leased: now.since(leased[1]))
        return kind, round(now.since(started_at), 1)

    def _task_ids(self, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, None]]:
        """Yield (task id, None) in the order of `tasks`, and remember the tasks' types."""
        for task in tasks:
            task_id, kind = as_text(task.get("task_id"), 200), as_text(task.get("type"), 60)
            if not task_id:
                continue
            if kind:
                self.task_types.pop(task_id, None)
                self.task_types[task_id] = kind
            yield task_id, None
        while len(self.task_types) > MAX_TYPES:
            del self.task_types[next(iter(self.task_types))]

    def _has_result(self, settings: Settings, task_id: str, now: Moment) -> bool | None:
        """Return True if the task has a result, and record it; None if the server does not say."""
        from urllib.parse import quote

        try:
            item = as_object(request_json(settings, f"/api/results/{quote(task_id, safe='')}"))
        except HttpError as error:
            return False if error.status == 404 else None
        self._note_progress(self.unfinished_tasks.pop(task_id), now)
        if task_id not in CANARY_TASK_IDS:
            self.watched_results = [
                *self.watched_results[1 - MAX_RESULTS :],
                {**item, "task_id": task_id},
            ]
        return True

    def _note_progress(self, last_unfinished_at: Moment, now: Moment) -> None:
        self.finished_count += 1
        self.last_proof_of_work, self.last_finish_seen_at = last_unfinished_at, now

    def read_results(self, settings: Settings, sample_data: dict[str, Any], now: Moment) -> None:
        """Read the results of the last tasks, if the counters show that there may be new ones."""
        completed, failed = (
            as_count(sample_data.get("completed")),
            as_count(sample_data.get("failed")),
        )
        if not completed or failed is None:
            self.results_reader = None
            return
        reader = self.results_reader
        if reader is None or completed < reader.completed or failed < reader.failed:
            reader = self.results_reader = ResultsReader()
        reader.update(self, CANARY_TASK_IDS, settings, sample_data, completed, failed, now)


_WATCHERS: dict[tuple[str, str], TaskWatcher] = {}


def get_watcher(box_name: str, settings: Settings) -> TaskWatcher:
    """Return this process's watcher of a box's queue."""
    key = box_name, settings.queue.url
    watcher = _WATCHERS.pop(key, None) or TaskWatcher()
    _WATCHERS[key] = watcher
    while len(_WATCHERS) > MAX_BOXES:
        del _WATCHERS[next(iter(_WATCHERS))]
    return watcher


def parse_waiting_tasks(answer: object) -> list[Mapping[str, Any]]:
    """Return the tasks of an `/api/tasks` answer, in the order of service."""
    queues = as_object(answer)
    order = sorted(queues, key=lambda name: _QUEUE_RANKS.get(name, len(_QUEUE_RANKS)))
    return [task for name in order for task in map(as_object, as_list(queues[name])) if task]


_QUEUE_RANKS = {"queue_urgent": 0, "queue_normal": 1, "queue_low": 2}


def parse_leases(answer: object) -> list[Mapping[str, Any]]:
    """Return the leases of an `/api/inflight` answer, oldest first."""
    leases = [
        lease for lease in map(as_object, as_list(as_object(answer).get("inflight"))) if lease
    ]
    return sorted(leases, key=lambda lease: -(as_number(lease.get("age_sec")) or 0.0))
