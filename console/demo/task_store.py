"""Stores the tasks and results of the queue server.

A task is on disk before it is acknowledged, and stays there until it has a result.
"""

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
# Of earlier runs. The results of this run are all kept, because /api/results lists them.
MAX_OLD_RESULTS = 10_000
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
    """A task that a worker has taken and has not answered yet."""

    task: Task
    worker: str
    leased_at: float
    expires_at: float  # monotonic clock


@dataclass
class Counters:
    """The counters behind /api/stats; they start from 0 with each server process."""

    completed: int = 0
    successful: int = 0
    timed_results: int = 0
    duration_ms: float = 0.0


def local_now() -> str:
    """Return the local time to the second, without a zone, in the format of the real server."""
    return datetime.now().isoformat(timespec="seconds")


class TaskStore:
    """Queues, leases and results of one server. Every method may be called from any thread."""

    def __init__(self, directory: Path | None, lease_s: float) -> None:
        self._lock = threading.Lock()
        self._lease_s = lease_s
        self._queues: dict[str, OrderedDict[str, Task]] = {p: OrderedDict() for p in PRIORITIES}
        self._leases: OrderedDict[str, Lease] = OrderedDict()  # in the order in which they expire
        self._counters = Counters()
        self._db = _open_database(directory)
        self._last_old_result_seq = self._load_tasks()

    def _load_tasks(self) -> int:
        """Queue the unfinished tasks of earlier runs, and delete their surplus results.

        Return the sequence number of their last result; 0 if there is none.
        """
        for priority, body in self._db.execute("select priority, body from tasks order by seq"):
            task = json.loads(body)
            self._queues[priority][task["task_id"]] = task
        last_seq = int(self._db.execute("select coalesce(max(seq), 0) from results").get)
        self._db.execute("delete from results where seq <= ?", (last_seq - MAX_OLD_RESULTS,))
        return last_seq

    def close(self) -> None:
        """Close the database once no thread is writing."""
        with self._lock:
            self._db.close()

    def enqueue(self, task_type: str, data: Task, priority: str) -> tuple[str, int]:
        """Queue a task durably; return its id and its position in the order of service."""
        task = _new_task(task_type, data, priority)
        row = (task["task_id"], priority, json.dumps(task))
        with self._lock:
            self._db.execute("insert into tasks(task_id, priority, body) values(?, ?, ?)", row)
            self._queues[priority][task["task_id"]] = task
            ahead = PRIORITIES[: PRIORITIES.index(priority) + 1]
            return task["task_id"], sum(len(self._queues[p]) for p in ahead)

    def lease_next(self, worker_name: str) -> Task | None:
        """Lease the next task to a worker and return it; return None if no task waits.

        The task stays on disk until its result arrives.
        """
        with self._lock:
            self._requeue()
            queue = next((q for q in self._queues.values() if q), None)
            if queue is None:
                return None
            task_id, task = queue.popitem(last=False)
            expires_at = time.monotonic() + self._lease_s
            self._leases[task_id] = Lease(task, worker_name, time.time(), expires_at)
            return task

    def record_result(self, task_id: str, result: Task, duration_ms: float | None) -> bool:
        """Record a task's first result and ignore repeated ones.

        Return False for an unknown task. `duration_ms`: None if it is not known.
        """
        with self._lock:
            if not self._is_unfinished(task_id):
                return self._read_result(task_id) is not None
            self._replace_task_with_result(task_id, result)
            self._leases.pop(task_id, None)
            for queue in self._queues.values():
                queue.pop(task_id, None)
            if duration_ms is not None:
                self._counters.timed_results += 1
                self._counters.duration_ms += duration_ms
            return True

    def record_ping_result(self) -> None:
        """Record the result of a task that the server answers itself.

        This result has only the keys `success` and `data`.
        """
        with self._lock:
            self._replace_task_with_result(
                str(uuid.uuid4()), {"success": True, "data": {"message": "pong"}}
            )

    def result_json(self, task_id: str) -> str | None:
        """Return one result as JSON text, or None as long as there is none."""
        with self._lock:
            return self._read_result(task_id)

    def results_json(self) -> list[str]:
        """Return every result of this run as JSON text, oldest first."""
        with self._lock:
            query = "select body from results where seq > ? order by seq"
            return [
                str(body)
                for (body,) in self._db.execute(query, (self._last_old_result_seq,)).fetchall()
            ]

    def tasks(self) -> dict[str, list[Task]]:
        """Return the queued tasks by priority, each list in the order of service."""
        with self._lock:
            self._requeue()
            return {priority: list(queue.values()) for priority, queue in self._queues.items()}

    def inflight(self) -> list[Task]:
        """Return the leases that have not expired."""
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
        """Return queue sizes, number of leases, number of workers with a lease, and the counters.

        The cost does not depend on the number of results.
        """
        with self._lock:
            self._requeue()
            sizes = {priority: len(queue) for priority, queue in self._queues.items()}
            workers = len({lease.worker for lease in self._leases.values()})
            return sizes, len(self._leases), workers, Counters(**vars(self._counters))

    def _requeue(self) -> None:
        """Queue every task whose lease has expired: it may be done twice, but is never lost."""
        now = time.monotonic()
        while self._leases and next(iter(self._leases.values())).expires_at <= now:
            task_id, lease = self._leases.popitem(last=False)
            self._queues[lease.task["priority"]][task_id] = lease.task

    def _is_unfinished(self, task_id: str) -> bool:
        """Return True if the task is accepted and has no result yet."""
        return task_id in self._leases or any(task_id in q for q in self._queues.values())

    def _replace_task_with_result(self, task_id: str, result: Task) -> None:
        """Replace the task by its result in one transaction, then update the counters."""
        with self._db:
            self._db.execute("delete from tasks where task_id = ?", (task_id,))
            row = (task_id, json.dumps(result))
            self._db.execute("insert into results(task_id, body) values(?, ?)", row)
        self._counters.completed += 1
        self._counters.successful += bool(result["success"])

    def _read_result(self, task_id: str) -> str | None:
        row = self._db.execute("select body from results where task_id = ?", (task_id,)).fetchone()
        return None if row is None else str(row[0])


def _open_database(directory: Path | None) -> apsw.Connection:
    """Open the database, locked for this process alone. Raises OSError.

    Without a directory the database is in memory.
    """
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


def _new_task(task_type: str, data: Task, priority: str) -> Task:
    """Return a new task in the form in which the queue hands it out."""
    return {
        "task_id": str(uuid.uuid4()),
        "type": task_type,
        "data": data,
        "priority": priority,
        "created_at": local_now(),
    }
