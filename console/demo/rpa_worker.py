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

if TYPE_CHECKING:
    from . import script_support
else:  # run by path, with this directory on the search path
    import script_support

LONGEST_PAUSE = 2.0
LONGEST_WAIT = 300.0
LONGEST_COMMAND = 60.0
KEPT_OUTPUT = 8192  # bytes
KEPT_LINES = 20
log = logging.getLogger("worker")


class Outcome(NamedTuple):
    """How a task ended."""

    success: bool
    data: dict[str, Any]
    error: str | None = None


def perform(kind: object, data: dict[str, Any]) -> Outcome:
    """Do one task of any type."""
    match kind:
        case "health_check":
            return Outcome(True, {"status": "ok", "pid": os.getpid()})
        case "wait":
            return wait(data)
        case "rpa" | "rpa_command":
            return rpa(data)
    return Outcome(False, {}, f"Unsupported task type: {kind}")


def wait(data: dict[str, Any]) -> Outcome:
    """Let some seconds pass."""
    asked = script_support.number(data.get("seconds", 1.0))
    if asked is None or not 0 <= asked <= LONGEST_WAIT:
        return Outcome(False, {}, f"seconds must be from 0 to {LONGEST_WAIT:g}")
    time.sleep(asked)
    return Outcome(True, {"waited": asked})


def rpa(data: dict[str, Any]) -> Outcome:
    """Carry out an RPA action; the only one known is to run a command."""
    action, params = data.get("action"), data.get("params")
    if action != "run":
        return Outcome(False, {}, f"Unsupported action: {action}")
    if not isinstance(params, dict):
        return Outcome(False, {}, "params must be an object")
    argv = params.get("command")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        return Outcome(False, {}, "params.command must be a list of words")
    asked = script_support.number(params.get("timeout", LONGEST_COMMAND))
    if asked is None or not 0 < asked <= LONGEST_WAIT:
        return Outcome(False, {}, f"params.timeout must be from 0 to {LONGEST_WAIT:g}")
    try:
        return run(argv, asked)
    except (OSError, ValueError) as error:
        return Outcome(False, {}, f"{argv[0]}: {error}")


def run(argv: list[str], limit: float) -> Outcome:
    """Run a command, without a shell, in a process group that ends with it when time is over."""
    deadline = time.monotonic() + limit
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    ) as child:
        try:
            tail = follow(child, deadline)
            code = child.wait(max(0.01, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return Outcome(False, {"exit_code": None}, f"no end within {limit:g} s")
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)
    lines = tail.decode(errors="replace").splitlines()[-KEPT_LINES:]
    error = None if code == 0 else f"exit code {code}"
    return Outcome(code == 0, {"exit_code": code, "output": lines}, error)


def follow(child: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Read a command's output until it ends or its time is over; keep only the tail."""
    assert child.stdout is not None
    source, tail = child.stdout.fileno(), b""
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        if select.select([source], [], [], 0 if ended else 0.05)[0]:
            chunk = os.read(source, 1 << 16)
            if not chunk:
                break
            tail = (tail + chunk)[-KEPT_OUTPUT:]
        elif ended:
            break  # what is still open belongs to a grandchild that stays behind
    return tail


def work(server: str, name: str, task: dict[str, Any]) -> None:
    """Do one task and report it."""
    data, begun = task.get("data"), time.monotonic()
    outcome = perform(task.get("type"), data if isinstance(data, dict) else {})
    took = time.monotonic() - begun
    log.info("%s %s in %.3f s", task.get("type"), "done" if outcome.success else "failed", took)
    times = {"worker": name, "execution_time": round(took, 4), "duration_ms": round(took * 1e3, 1)}
    data = outcome.data | times
    body = {"success": outcome.success, "data": data, "error": outcome.error}
    report(server, f"/api/tasks/{quote(task['task_id'], safe='')}/result", body)


def report(server: str, path: str, body: dict[str, Any]) -> None:
    """Hand in a result; given up after a while, for the lease brings the task back."""
    for pause in (0.2, 0.5, 1.0, 2.0, 0.0):
        try:
            script_support.call(server, path, body)
            return
        except script_support.NoAnswer as reason:
            log.warning("result not taken: %s", reason)
            if reason.status is not None and reason.status < 500:
                return
        time.sleep(pause)


def next_task(server: str, name: str) -> dict[str, Any] | None:
    """The next task, or None when the queue is empty."""
    task = script_support.call(server, "/api/tasks/next", headers={"X-Worker-Name": name})
    if isinstance(task.get("task_id"), str):
        return task
    if "task" in task and task["task"] is None:
        return None
    raise script_support.NoAnswer("neither a task nor the word that there is none")


def serve(server: str, name: str, interval: float) -> None:
    """Poll for ever; a server that is away or talks nonsense is asked ever more seldom."""
    pause = interval
    while True:
        try:
            task = next_task(server, name)
        except script_support.NoAnswer as reason:
            pause = max(interval, min(LONGEST_PAUSE, pause * 2))
            log.warning("no task: %s; next try in %.1f s", reason, pause)
            time.sleep(pause)
            continue
        pause = interval
        if task is None:
            time.sleep(interval)
        else:
            work(server, name, task)


def main() -> None:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--interval", type=script_support.seconds, default=0.5)
    parser.add_argument("--log-level", choices=levels, default="INFO")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}")
    options = parser.parse_args()
    script_support.start(options.log_level)
    log.info("worker %s polls %s every %g s", options.name, options.server, options.interval)
    serve(options.server, options.name, options.interval)


if __name__ == "__main__":
    main()
