"""Computes the queue server's response to each request. Contains no socket code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from . import script_support, task_store
else:  # run by path: its own directory is on the search path
    import script_support
    import task_store


class RequestError(Exception):
    """A request that the server refuses; `status` is the HTTP status of the response."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One complete HTTP request."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    worker_name: str

    def parse_json_object(self) -> dict[str, Any]:
        """Return the body, a JSON object that can be encoded as JSON again.

        Raises RequestError for any other body.
        """
        try:
            value = json.loads(self.body)
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, "the body is not valid JSON") from error
        if not isinstance(value, dict):
            raise RequestError(400, "the body must be a JSON object")
        return value


@dataclass(frozen=True)
class Response:
    """One HTTP response."""

    status: int
    body: str
    content_type: str = "application/json"


def json_response(value: object, status: int = 200) -> Response:
    """Return a response with `value` encoded as JSON."""
    return Response(status, json.dumps(value))


def handle_request(store: task_store.TaskStore, request: Request) -> Response:
    """Return the response to one request. Raises RequestError."""
    match request.method, request.path.strip("/").split("/"):
        case "GET", ["api", "health"]:
            return get_health(store)
        case "GET", ["api", "stats"]:
            return get_stats(store)
        case "GET", ["api", "tasks"]:
            return get_tasks(store)
        case "GET", ["api", "inflight"]:
            leases = store.inflight()
            return json_response({"inflight": leases, "count": len(leases)})
        case "GET", ["api", "results"]:
            texts = store.results_json()
            return Response(200, f'{{"results": [{", ".join(texts)}], "count": {len(texts)}}}')
        case "GET", ["api", "results", task_id]:
            return get_result(store, task_id)
        case "GET" | "POST", ["api", "tasks", "next"]:
            return json_response(store.lease_next(request.worker_name) or {"task": None})
        case "POST", ["api", "tasks", "create"]:
            body = request.parse_json_object()
            priority = request.query.get("priority", ["normal"])[-1]
            return create_task(store, body.get("type"), body.get("data", {}), priority)
        case "POST", ["api", "enqueue"]:
            body = request.parse_json_object()
            kind, data = body.get("task_type"), body.get("params", {})
            return create_task(store, kind, data, body.get("priority", "normal"))
        case "POST", ["api", "tasks", task_id, "result"]:
            return record_result(store, task_id, request.parse_json_object())
    raise RequestError(404, "no such path")


def get_health(store: task_store.TaskStore) -> Response:
    """Return the health document: status `ok` and the sizes of the queues."""
    sizes, _, _, counters = store.counts()
    return json_response(
        {
            "status": "ok",
            "service": "task-queue-server",
            "queue_size": sum(sizes.values()),
            **{f"queue_{priority}": size for priority, size in sizes.items()},
            "results_count": counters.completed,
            "timestamp": task_store.local_now(),
        }
    )


def get_stats(store: task_store.TaskStore) -> Response:
    """Return the counters since this process started."""
    sizes, inflight, workers, done = store.counts()
    rate = 100.0 * done.successful / done.completed if done.completed else 0.0
    return json_response(
        {
            "pending": sum(sizes.values()),
            **{f"pending_{priority}": size for priority, size in sizes.items()},
            "inflight": inflight,
            "completed": done.completed,
            "successful": done.successful,
            "failed": done.completed - done.successful,
            "success_rate": round(rate, 2),
            "workers": workers,
            "avg_duration_ms": round(done.duration_ms / done.timed_results, 3)
            if done.timed_results
            else 0,
            "timestamp": task_store.local_now(),
        }
    )


def get_tasks(store: task_store.TaskStore) -> Response:
    """Return every queued task, by priority."""
    queues = store.tasks()
    listed = {f"queue_{priority}": queue for priority, queue in queues.items()}
    return json_response({**listed, "total_queue_size": sum(map(len, queues.values()))})


def get_result(store: task_store.TaskStore, task_id: str) -> Response:
    """Return the result of one task. Raises RequestError as long as there is none."""
    text = store.result_json(task_id)
    if text is None:
        raise RequestError(404, "no result yet")
    return Response(200, text)


def create_task(
    store: task_store.TaskStore, task_type: object, data: object, priority: object
) -> Response:
    """Queue a task. Raises RequestError.

    A `ping` is recorded as a completed task, and its request then fails, as on the real server.
    """
    if not isinstance(task_type, str) or not task_type:
        raise RequestError(400, "the task's type must be a non-empty string")
    if not isinstance(data, dict):
        raise RequestError(400, "the task's data must be an object")
    if not isinstance(priority, str) or priority not in task_store.PRIORITIES:
        raise RequestError(400, f"the priority must be one of {', '.join(task_store.PRIORITIES)}")
    if task_type == "ping":
        store.record_ping_result()
        return Response(500, "Internal Server Error", "text/plain; charset=utf-8")
    task_id, position = store.enqueue(task_type, data, priority)
    return json_response(
        {
            "task_id": task_id,
            "message": f"{task_type} accepted",
            "priority": priority,
            "queue_position": position,
        }
    )


def record_result(store: task_store.TaskStore, task_id: str, body: dict[str, Any]) -> Response:
    """Record a worker's result. Raises RequestError."""
    success, data, error = body.get("success"), body.get("data"), body.get("error")
    if not isinstance(success, bool):
        raise RequestError(400, "success must be true or false")
    if not isinstance(data, dict | None) or not isinstance(error, str | None):
        raise RequestError(400, "data must be an object and error a string, or either null")
    result = {
        "task_id": task_id,
        "success": success,
        "data": data or {},
        "error": error,
        "submitted_at": task_store.local_now(),
    }
    duration_ms = script_support.as_number((data or {}).get("duration_ms", body.get("duration_ms")))
    if not store.record_result(
        task_id, result, duration_ms if duration_ms is not None and duration_ms >= 0 else None
    ):
        raise RequestError(404, "no such task")
    return json_response({"message": "result recorded", "success": True})
