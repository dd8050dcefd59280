"""The queue's memory: a task is on disk before it is acknowledged, and until it has a result."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw

PRIORITIES = ("urgent", "normal", "low")
KEPT_RESULTS = (
    10_000  # of earlier runs; those of this run are all kept, for /api/results lists them
)
SCHEMA = """
create table if not exists tasks(
    seq integer primary key autoincrement, task_id text unique not null,
    priority text not null, body text not null);
create table if not exists results(
    seq integer primary key autoincrement, task_id text unique not null, body text not null);
"""

Task = dict[str, Any]


@dataclass(frozen=True)
class Lease:
    """A task that a worker has taken and not yet answered."""

    task: Task
    worker: str
    leased_at: float
    due: float  # monotonic


@dataclass
class Counters:
    """What /api/stats counts; it starts from 0 with each server process."""

    completed: int = 0
    successful: int = 0
    timed: int = 0
    duration_ms: float = 0.0


def local_now() -> str:
    """Local time to the second, without a zone, as the real server writes it."""
    return datetime.now().isoformat(timespec="seconds")


class Book:
    """Queues, leases and results of one server; every method may be called from any thread."""

    def __init__(self, directory: Path | None, lease_s: float) -> None:
        self._lock = threading.Lock()
        self._lease_s = lease_s
        self._queues: dict[str, OrderedDict[str, Task]] = {p: OrderedDict() for p in PRIORITIES}
        self._leases: OrderedDict[str, Lease] = OrderedDict()  # the first to run out comes first
        self._counters = Counters()
        self._db = _open(directory)
        self._first = self._recall()

    def _recall(self) -> int:
        """Queue what an earlier run accepted; return the number of that run's last result."""
        for priority, body in self._db.execute("select priority, body from tasks order by seq"):
            task = json.loads(body)
            self._queues[priority][task["task_id"]] = task
        last = int(self._db.execute("select coalesce(max(seq), 0) from results").get)
        self._db.execute("delete from results where seq <= ?", (last - KEPT_RESULTS,))
        return last

    def close(self) -> None:
        """Close the file once no thread is writing."""
        with self._lock:
            self._db.close()

    def accept(self, kind: str, data: Task, priority: str) -> tuple[str, int]:
        """Queue a task durably; return its id and its place in the order of service."""
        task = _task(kind, data, priority)
        row = (task["task_id"], priority, json.dumps(task))
        with self._lock:
            self._db.execute("insert into tasks(task_id, priority, body) values(?, ?, ?)", row)
            self._queues[priority][task["task_id"]] = task
            ahead = PRIORITIES[: PRIORITIES.index(priority) + 1]
            return task["task_id"], sum(len(self._queues[p]) for p in ahead)

    def lease(self, worker: str) -> Task | None:
        """Hand the next task to a worker; it stays on disk until its result arrives."""
        with self._lock:
            self._requeue()
            queue = next((q for q in self._queues.values() if q), None)
            if queue is None:
                return None
            task_id, task = queue.popitem(last=False)
            due = time.monotonic() + self._lease_s
            self._leases[task_id] = Lease(task, worker, time.time(), due)
            return task

    def finish(self, task_id: str, item: Task, duration_ms: float | None) -> bool:
        """Record a task's first result, ignoring repeated ones; False for an unknown task."""
        with self._lock:
            if not self._unanswered(task_id):
                return self._result(task_id) is not None
            self._record(task_id, item)
            self._leases.pop(task_id, None)
            for queue in self._queues.values():
                queue.pop(task_id, None)
            if duration_ms is not None:
                self._counters.timed += 1
                self._counters.duration_ms += duration_ms
            return True

    def answer_ping(self) -> None:
        """Record the result of a task that the server answers itself: `success` and `data` only."""
        with self._lock:
            self._record(str(uuid.uuid4()), {"success": True, "data": {"message": "pong"}})

    def result(self, task_id: str) -> str | None:
        """One result as JSON text, or None until there is one."""
        with self._lock:
            return self._result(task_id)

    def results(self) -> list[str]:
        """Every result of this run as JSON text, oldest first."""
        with self._lock:
            query = "select body from results where seq > ? order by seq"
            return [str(body) for (body,) in self._db.execute(query, (self._first,)).fetchall()]

    def tasks(self) -> dict[str, list[Task]]:
        """The queued tasks by priority, each list in the order of service."""
        with self._lock:
            self._requeue()
            return {priority: list(queue.values()) for priority, queue in self._queues.items()}

    def inflight(self) -> list[Task]:
        """The leases that have not run out."""
        with self._lock:
            self._requeue()
            leases = list(self._leases.items())
        now = time.time()
        return [
            {
                "task_id": task_id,
                "type": lease.task["type"],
                "leased_at": lease.leased_at,
                "worker": lease.worker,
                "age_sec": round(now - lease.leased_at, 3),
            }
            for task_id, lease in leases
        ]

    def counts(self) -> tuple[dict[str, int], int, int, Counters]:
        """Queue sizes, leases, workers that hold one, and the counters; never walks the results."""
        with self._lock:
            self._requeue()
            sizes = {priority: len(queue) for priority, queue in self._queues.items()}
            workers = len({lease.worker for lease in self._leases.values()})
            return sizes, len(self._leases), workers, Counters(**vars(self._counters))

    def _requeue(self) -> None:
        """Queue again every task whose lease has run out: it may be done twice, never lost."""
        now = time.monotonic()
        while self._leases and next(iter(self._leases.values())).due <= now:
            task_id, lease = self._leases.popitem(last=False)
            self._queues[lease.task["priority"]][task_id] = lease.task

    def _unanswered(self, task_id: str) -> bool:
        """Whether the task is accepted and not yet answered."""
        return task_id in self._leases or any(task_id in q for q in self._queues.values())

    def _record(self, task_id: str, item: Task) -> None:
        """Exchange the task for its result in one transaction, then count it."""
        with self._db:
            self._db.execute("delete from tasks where task_id = ?", (task_id,))
            row = (task_id, json.dumps(item))
            self._db.execute("insert into results(task_id, body) values(?, ?)", row)
        self._counters.completed += 1
        self._counters.successful += bool(item["success"])

    def _result(self, task_id: str) -> str | None:
        row = self._db.execute("select body from results where task_id = ?", (task_id,)).fetchone()
        return None if row is None else str(row[0])


def _open(directory: Path | None) -> apsw.Connection:
    """The book's file, held by this process alone; in memory where no directory is given."""
    try:
        if directory is None:
            db = apsw.Connection(":memory:")
        else:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            db = apsw.Connection(str(directory / "queue.sqlite"))
            db.execute("pragma locking_mode = exclusive; pragma journal_mode = wal")
            db.execute("pragma synchronous = full")
        db.execute(SCHEMA)
    except apsw.Error as error:
        raise OSError(f"{directory}: {error}") from error
    return db


def _task(kind: str, data: Task, priority: str) -> Task:
    """A task as the queue hands it out."""
    return {
        "task_id": str(uuid.uuid4()),
        "type": kind,
        "data": data,
        "priority": priority,
        "created_at": local_now(),
    }
