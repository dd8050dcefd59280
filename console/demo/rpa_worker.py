"""The RPA worker: takes one task at a time from the queue, does it, and reports its result."""

from __future__ import annotations

import argparse
import logging
import os
import select
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING or __package__:
    from . import script_support
else:  # run by path: its own directory is on the search path
    import script_support

MAX_POLL_PAUSE_S = 2.0
MAX_TASK_DURATION_S = 300.0
DEFAULT_COMMAND_TIMEOUT_S = 60.0
MAX_OUTPUT_BYTES = 8192
MAX_OUTPUT_LINES = 20
log = logging.getLogger("worker")


class TaskResult(NamedTuple):
    """The result of a task."""

    success: bool
    data: dict[str, Any]
    error: str | None = None


def perform_task(task_type: object, data: dict[str, Any]) -> TaskResult:
    """Perform one task of any type; return its result."""
    match task_type:
        case "health_check":
            return TaskResult(True, {"status": "ok", "pid": os.getpid()})
        case "wait":
            return perform_wait(data)
        case "rpa" | "rpa_command":
            return perform_rpa(data)
    return TaskResult(False, {}, f"Unsupported task type: {task_type}")


def perform_wait(data: dict[str, Any]) -> TaskResult:
    """Sleep for the requested seconds."""
    duration_s = script_support.as_number(data.get("seconds", 1.0))
    if duration_s is None or not 0 <= duration_s <= MAX_TASK_DURATION_S:
        return TaskResult(False, {}, f"seconds must be from 0 to {MAX_TASK_DURATION_S:g}")
    time.sleep(duration_s)
    return TaskResult(True, {"waited": duration_s})


def perform_rpa(data: dict[str, Any]) -> TaskResult:
    """Perform an RPA action. The only supported action is `run`, which runs a command."""
    action, params = data.get("action"), data.get("params")
    if action != "run":
        return TaskResult(False, {}, f"Unsupported action: {action}")
    if not isinstance(params, dict):
        return TaskResult(False, {}, "params must be an object")
    argv = params.get("command")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        return TaskResult(False, {}, "params.command must be a list of words")
    timeout_s = script_support.as_number(params.get("timeout", DEFAULT_COMMAND_TIMEOUT_S))
    if timeout_s is None or not 0 < timeout_s <= MAX_TASK_DURATION_S:
        return TaskResult(False, {}, f"params.timeout must be from 0 to {MAX_TASK_DURATION_S:g}")
    try:
        return run_command(argv, timeout_s)
    except (OSError, ValueError) as error:
        return TaskResult(False, {}, f"{argv[0]}: {error}")


def run_command(argv: list[str], timeout_s: float) -> TaskResult:
    """Run a command without a shell, in its own process group. Raises OSError, ValueError.

    When `timeout_s` is over, the whole group is killed.
    """
    deadline = time.monotonic() + timeout_s
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    ) as child:
        try:
            tail = read_output_tail(child, deadline)
            code = child.wait(max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return TaskResult(False, {"exit_code": None}, f"no end within {timeout_s:g} s")
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)
    lines = tail.decode(errors="replace").splitlines()[-MAX_OUTPUT_LINES:]
    error = None if code == 0 else f"exit code {code}"
    return TaskResult(code == 0, {"exit_code": code, "output": lines}, error)


def read_output_tail(child: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return the last `MAX_OUTPUT_BYTES` bytes of a command's output.

    Read until the output ends or the monotonic clock reaches `deadline`.
    """
    assert child.stdout is not None
    source, tail = child.stdout.fileno(), b""
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        if select.select([source], [], [], 0 if ended else 0.05)[0]:
            chunk = os.read(source, 1 << 16)
            if not chunk:
                break
            tail = (tail + chunk)[-MAX_OUTPUT_BYTES:]
        elif ended:
            break  # a grandchild that outlives the command holds the pipe open
    return tail


def process_task(server: str, worker_name: str, task: dict[str, Any]) -> None:
    """Perform one task and submit its result."""
    data, begun = task.get("data"), time.monotonic()
    outcome = perform_task(task.get("type"), data if isinstance(data, dict) else {})
    duration_s = time.monotonic() - begun
    log.info(
        "%s %s in %.3f s", task.get("type"), "done" if outcome.success else "failed", duration_s
    )
    times = {
        "worker": worker_name,
        "execution_time": round(duration_s, 4),
        "duration_ms": round(duration_s * 1e3, 1),
    }
    data = outcome.data | times
    body = {"success": outcome.success, "data": data, "error": outcome.error}
    submit_result(server, f"/api/tasks/{quote(task['task_id'], safe='')}/result", body)


def submit_result(server: str, path: str, body: dict[str, Any]) -> None:
    """Submit a result, with at most five attempts.

    After that the worker gives up: the lease expires, and the server queues the task again.
    """
    for pause in (0.2, 0.5, 1.0, 2.0, 0.0):
        try:
            script_support.call_server(server, path, body)
            return
        except script_support.RequestFailed as reason:
            log.warning("result not taken: %s", reason)
            if reason.status is not None and reason.status < 500:
                return
        time.sleep(pause)


def fetch_next_task(server: str, worker_name: str) -> dict[str, Any] | None:
    """Return the next task, or None if the queue is empty. Raises RequestFailed."""
    task = script_support.call_server(
        server, "/api/tasks/next", headers={"X-Worker-Name": worker_name}
    )
    if isinstance(task.get("task_id"), str):
        return task
    if "task" in task and task["task"] is None:
        return None
    raise script_support.RequestFailed("neither a task nor the word that there is none")


def poll_forever(server: str, worker_name: str, interval_s: float) -> None:
    """Poll for tasks forever.

    While the server is unreachable or its answers are invalid, the pause doubles up to
    `MAX_POLL_PAUSE_S`, unless `interval_s` is longer.
    """
    pause = interval_s
    while True:
        try:
            task = fetch_next_task(server, worker_name)
        except script_support.RequestFailed as reason:
            pause = max(interval_s, min(MAX_POLL_PAUSE_S, pause * 2))
            log.warning("no task: %s; next try in %.1f s", reason, pause)
            time.sleep(pause)
            continue
        pause = interval_s
        if task is None:
            time.sleep(interval_s)
        else:
            process_task(server, worker_name, task)


def main() -> None:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--interval", type=script_support.seconds, default=0.5)
    parser.add_argument("--log-level", choices=levels, default="INFO")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    options = parser.parse_args()
    script_support.set_up_script(options.log_level)
    log.info("worker %s polls %s every %g s", options.name, options.server, options.interval)
    poll_forever(options.server, options.name, options.interval)


if __name__ == "__main__":
    main()
