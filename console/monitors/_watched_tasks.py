"""Which tasks the queue monitor watches, and what became of them.

The server's counters also rise by pings, which the server answers itself. That a worker works is
known from a task that was seen waiting or in work and has a result later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from console.core.frozen import slotted
from console.core.metrics.queue_metrics import WATCHED
from console.core.model import Moment
from console.core.text.formatting import visible
from console.core.text.json_values import as_list, count, number, table, text
from console.monitors._queue_client import ask
from console.monitors._queue_results import Results
from console.system.config.schema import Settings
from console.system.host.json_http import HttpError

TYPES, OWN, BOXES = 2_000, 100, 8
"""Task types, results of watched tasks, and boxes that are remembered."""
CANARIES: dict[str, None] = {}
"""Task numbers of the canaries that this process sent."""


def remember_canary(task_id: str) -> None:
    """Keep a canary's number: its outcome says nothing of the real tasks."""
    CANARIES[task_id] = None
    while len(CANARIES) > OWN:
        del CANARIES[next(iter(CANARIES))]


@slotted
class Watch:
    """The tasks of one queue server that this process watches."""

    unanswered: dict[str, Moment] = field(default_factory=dict)
    """Task number -> when it was last seen waiting or in work."""
    types: dict[str, str] = field(default_factory=dict)
    answered: int = 0
    worked: Moment | None = None
    """When the task that was answered last was last seen unanswered."""
    done: Moment | None = None
    """When that task was first seen answered."""
    own: list[Mapping[str, Any]] = field(default_factory=list)
    """Results of watched tasks, oldest first."""
    size: int | None = None
    leased: dict[str, tuple[str, Moment]] = field(default_factory=dict)
    """Task number -> type, and since when it is in work, of the tasks that are watched."""
    held: bool = False
    """Whether any task was in work at the last look."""
    canary: tuple[str, Moment] | None = None
    """The canary that this process sent and that had no result when it was last looked for."""
    results: Results | None = None

    def look(
        self,
        settings: Settings,
        seen: dict[str, Any],
        waiting: Sequence[Mapping[str, Any]] | None,
        leases: Sequence[Mapping[str, Any]],
        began: Moment,
        now: Moment,
    ) -> None:
        """Compare what is listed with what was, and put what follows into `seen`.

        `waiting`: the waiting tasks in the order of service, None where they were not listed;
        `leases`: the tasks in work; `began`: when the first of the lists was asked for.
        """
        listed = dict(self._numbers((*leases, *(waiting or ()))))
        for task_id in [one for one in self.unanswered if one not in listed]:
            if self._answered(settings, task_id, now) is False and waiting is not None:
                del self.unanswered[task_id]
                seen["vanished"] = True
        size = count(seen.get("size"))
        if waiting is None and None not in (size, self.size) and size < self.size:  # type: ignore[operator]
            self._progress(began, now)  # a ping never waits: a worker has taken tasks
        self.size = size
        wanted = dict.fromkeys((*dict(self._numbers(leases)), *self.unanswered, *listed))
        self.unanswered = {
            one: began if one in listed else self.unanswered[one] for one in [*wanted][:WATCHED]
        }
        self._leases(leases, seen, now)
        seen["answered"] = self.answered
        if self.worked is not None and self.done is not None:
            seen["worked_s"] = round(now.since(self.worked), 3)
            seen["answered_s"] = round(now.since(self.done), 3)

    def _leases(
        self, leases: Sequence[Mapping[str, Any]], seen: dict[str, Any], now: Moment
    ) -> None:
        """Remember what is in work; tell of a task whose lease ran out before it was answered.

        The server queues such a task again, and the worker that took it may still be in it.
        """
        for lease in leases:
            task_id, age = text(lease.get("task_id"), 200), number(lease.get("age_sec"))
            if task_id in self.unanswered and age is not None:
                began = now.plus(-max(0.0, age))
                self.leased[task_id] = visible(text(lease.get("type"), 60) or "a task"), began
        self.leased = {one: at for one, at in self.leased.items() if one in self.unanswered}
        self.held = bool(leases)
        if (over := self.overrun(now)) is not None:
            seen["overrun_task"], seen["overrun_s"] = over

    def overrun(self, now: Moment) -> tuple[str, float] | None:
        """The type of the task whose lease ran out, and for how long a worker has had it."""
        if self.held or not self.leased:
            return None
        kind, began = max(self.leased.values(), key=lambda at: now.since(at[1]))
        return kind, round(now.since(began), 1)

    def _numbers(self, tasks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, None]]:
        """The tasks' numbers in their order; their types are remembered."""
        for task in tasks:
            task_id, kind = text(task.get("task_id"), 200), text(task.get("type"), 60)
            if not task_id:
                continue
            if kind:
                self.types.pop(task_id, None)
                self.types[task_id] = kind
            yield task_id, None
        while len(self.types) > TYPES:
            del self.types[next(iter(self.types))]

    def _answered(self, settings: Settings, task_id: str, now: Moment) -> bool | None:
        """Whether a task has a result; None where the server does not say."""
        from urllib.parse import quote

        try:
            item = table(ask(settings, f"/api/results/{quote(task_id, safe='')}"))
        except HttpError as error:
            return False if error.status == 404 else None
        self._progress(self.unanswered.pop(task_id), now)
        if task_id not in CANARIES:
            self.own = [*self.own[1 - OWN :], {**item, "task_id": task_id}]
        return True

    def _progress(self, worked: Moment, now: Moment) -> None:
        self.answered += 1
        self.worked, self.done = worked, now

    def read_results(self, settings: Settings, seen: dict[str, Any], now: Moment) -> None:
        """Read what became of the last tasks, where the counters say that there is news of it."""
        completed, failed = count(seen.get("completed")), count(seen.get("failed"))
        if not completed or failed is None:
            self.results = None
            return
        known = self.results
        if known is None or completed < known.completed or failed < known.failed:
            known = self.results = Results()
        known.look(self, CANARIES, settings, seen, completed, failed, now)


_KNOWN: dict[tuple[str, str], Watch] = {}


def watch(box_name: str, settings: Settings) -> Watch:
    """What this process knows of a box's queue."""
    key = box_name, settings.queue.url
    known = _KNOWN.pop(key, None) or Watch()
    _KNOWN[key] = known
    while len(_KNOWN) > BOXES:
        del _KNOWN[next(iter(_KNOWN))]
    return known


def listed(answer: object) -> list[Mapping[str, Any]]:
    """The tasks of an `/api/tasks` answer, in the order of service."""
    queues = table(answer)
    order = sorted(queues, key=lambda name: _RANK.get(name, len(_RANK)))
    return [task for name in order for task in map(table, as_list(queues[name])) if task]


_RANK = {"queue_urgent": 0, "queue_normal": 1, "queue_low": 2}


def oldest_first(answer: object) -> list[Mapping[str, Any]]:
    """The leases of an `/api/inflight` answer, the oldest first."""
    leases = [one for one in map(table, as_list(table(answer).get("inflight"))) if one]
    return sorted(leases, key=lambda one: -(number(one.get("age_sec")) or 0.0))
