"""What the queue server answers to each request; knows the book, and nothing of sockets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import script_support, task_store
else:  # run by path, with this directory on the search path
    import script_support
    import task_store


class Refused(Exception):
    """A request that cannot be answered as asked."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    worker: str

    def fields(self) -> dict[str, Any]:
        """The body as a JSON object that can be written as JSON again."""
        try:
            value = json.loads(self.body)
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "the body is not valid JSON") from error
        if not isinstance(value, dict):
            raise Refused(400, "the body must be a JSON object")
        return value


@dataclass(frozen=True)
class Answer:
    """What goes back over the wire."""

    status: int
    text: str
    kind: str = "application/json"


def reply(value: object, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value))


def respond(book: task_store.Book, request: Request) -> Answer:
    """The answer to one request."""
    match request.method, request.path.strip("/").split("/"):
        case "GET", ["api", "health"]:
            return health(book)
        case "GET", ["api", "stats"]:
            return stats(book)
        case "GET", ["api", "tasks"]:
            return tasks(book)
        case "GET", ["api", "inflight"]:
            leases = book.inflight()
            return reply({"inflight": leases, "count": len(leases)})
        case "GET", ["api", "results"]:
            texts = book.results()
            return Answer(200, f'{{"results": [{", ".join(texts)}], "count": {len(texts)}}}')
        case "GET", ["api", "results", task_id]:
            return result(book, task_id)
        case "GET" | "POST", ["api", "tasks", "next"]:
            return reply(book.lease(request.worker) or {"task": None})
        case "POST", ["api", "tasks", "create"]:
            body = request.fields()
            priority = request.query.get("priority", ["normal"])[-1]
            return create(book, body.get("type"), body.get("data", {}), priority)
        case "POST", ["api", "enqueue"]:
            body = request.fields()
            kind, data = body.get("task_type"), body.get("params", {})
            return create(book, kind, data, body.get("priority", "normal"))
        case "POST", ["api", "tasks", task_id, "result"]:
            return finish(book, task_id, request.fields())
    raise Refused(404, "no such path")


def health(book: task_store.Book) -> Answer:
    """The server's own word that it is well."""
    sizes, _, _, counters = book.counts()
    return reply(
        {
            "status": "ok",
            "service": "task-queue-server",
            "queue_size": sum(sizes.values()),
            **{f"queue_{priority}": size for priority, size in sizes.items()},
            "results_count": counters.completed,
            "timestamp": task_store.local_now(),
        }
    )


def stats(book: task_store.Book) -> Answer:
    """The counters since this process started."""
    sizes, inflight, workers, done = book.counts()
    rate = 100.0 * done.successful / done.completed if done.completed else 0.0
    return reply(
        {
            "pending": sum(sizes.values()),
            **{f"pending_{priority}": size for priority, size in sizes.items()},
            "inflight": inflight,
            "completed": done.completed,
            "successful": done.successful,
            "failed": done.completed - done.successful,
            "success_rate": round(rate, 2),
            "workers": workers,
            "avg_duration_ms": round(done.duration_ms / done.timed, 3) if done.timed else 0,
            "timestamp": task_store.local_now(),
        }
    )


def tasks(book: task_store.Book) -> Answer:
    """Every queued task."""
    queues = book.tasks()
    listed = {f"queue_{priority}": queue for priority, queue in queues.items()}
    return reply({**listed, "total_queue_size": sum(map(len, queues.values()))})


def result(book: task_store.Book, task_id: str) -> Answer:
    """One result, once there is one."""
    text = book.result(task_id)
    if text is None:
        raise Refused(404, "no result yet")
    return Answer(200, text)


def create(book: task_store.Book, kind: object, data: object, priority: object) -> Answer:
    """Accept a task; a ping is recorded as answered and then, as on the real server, fails."""
    if not isinstance(kind, str) or not kind:
        raise Refused(400, "the task's type must be a non-empty string")
    if not isinstance(data, dict):
        raise Refused(400, "the task's data must be an object")
    if not isinstance(priority, str) or priority not in task_store.PRIORITIES:
        raise Refused(400, f"the priority must be one of {', '.join(task_store.PRIORITIES)}")
    if kind == "ping":
        book.answer_ping()
        return Answer(500, "Internal Server Error", "text/plain; charset=utf-8")
    task_id, position = book.accept(kind, data, priority)
    return reply(
        {
            "task_id": task_id,
            "message": f"{kind} accepted",
            "priority": priority,
            "queue_position": position,
        }
    )


def finish(book: task_store.Book, task_id: str, body: dict[str, Any]) -> Answer:
    """Accept a worker's result."""
    success, data, error = body.get("success"), body.get("data"), body.get("error")
    if not isinstance(success, bool):
        raise Refused(400, "success must be true or false")
    if not isinstance(data, dict | None) or not isinstance(error, str | None):
        raise Refused(400, "data must be an object and error a string, or either null")
    item = {
        "task_id": task_id,
        "success": success,
        "data": data or {},
        "error": error,
        "submitted_at": task_store.local_now(),
    }
    told = script_support.number((data or {}).get("duration_ms", body.get("duration_ms")))
    if not book.finish(task_id, item, told if told is not None and told >= 0 else None):
        raise Refused(404, "no such task")
    return reply({"message": "result recorded", "success": True})
