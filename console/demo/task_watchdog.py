"""The watchdog: samples the queue at each interval and writes the anomalies that it finds."""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from . import script_support
else:  # run by path: its own directory is on the search path
    import script_support

MAX_STATUS_COPIES = 50
STATUS_COPY_NAME = re.compile(r"watchdog_status_\d{8}_\d{12}\.json")
RECOMMENDATIONS = {
    "server_down": "start the queue server, or look at why it does not answer",
    "queue_stuck": "look at the oldest task: it has waited longer than it should",
    "consumers_not_consuming": "restart the worker: tasks wait and none is taken",
}
log = logging.getLogger("watchdog")


@dataclass(frozen=True)
class QueueSample:
    """One sample of the queue server; None stands for an unknown value."""

    health_ok: bool
    queue_size: int | None = None
    results_count: int | None = None
    inflight: int | None = None
    oldest_age_s: float | None = None


def sample_queue(server: str) -> QueueSample:
    """Sample the server. If the health request fails, send no other request."""
    try:
        health = script_support.call_server(server, "/api/health")
    except script_support.RequestFailed as reason:
        log.warning("no health: %s", reason)
        return QueueSample(False)
    size, results = as_count(health.get("queue_size")), as_count(health.get("results_count"))
    try:
        inflight = as_count(script_support.call_server(server, "/api/stats").get("inflight"))
        oldest = (
            oldest_task_age_s(script_support.call_server(server, "/api/tasks")) if size else None
        )
    except script_support.RequestFailed as reason:
        log.warning("health only: %s", reason)
        inflight = oldest = None
    return QueueSample(health.get("status") == "ok", size, results, inflight, oldest)


def as_count(value: object) -> int | None:
    """Return the value if it is a non-negative integer, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def oldest_task_age_s(tasks: dict[str, Any]) -> float | None:
    """Return the seconds since the oldest queued task was created; None if unknown.

    The creation time is a reading of the server's local clock.
    """
    queues = [tasks.get(f"queue_{priority}") for priority in ("urgent", "normal", "low")]
    ages = [task_age_s(task) for queue in queues if isinstance(queue, list) for task in queue]
    return max((age for age in ages if age is not None), default=None)


def task_age_s(task: object) -> float | None:
    """Return the seconds since one task was created; None if its creation time is invalid."""
    try:
        created = datetime.fromisoformat(task["created_at"])  # type: ignore[index]
        return max(0.0, round((datetime.now(created.tzinfo) - created).total_seconds(), 1))
    except (TypeError, KeyError, ValueError):
        return None


def find_anomalies(sample: QueueSample, previous: QueueSample | None, stuck_s: float) -> list[str]:
    """Return the names of the anomalies in this sample, compared with the previous one."""
    if not sample.health_ok:
        return ["server_down"]
    anomalies = []
    if sample.oldest_age_s is not None and sample.oldest_age_s > stuck_s:
        anomalies.append("queue_stuck")
    waiting = bool(sample.queue_size and previous and previous.queue_size)
    if (
        waiting
        and previous
        and sample.inflight == 0
        and sample.results_count == previous.results_count
    ):
        anomalies.append("consumers_not_consuming")
    return anomalies


def build_status(server: str, sample: QueueSample, anomaly_names: list[str]) -> dict[str, Any]:
    """Return the content of the status file."""
    return {
        "timestamp": datetime.now(UTC).isoformat(),
        "server_url": server,
        "health_ok": sample.health_ok,
        "queue_size": sample.queue_size,
        "results_count": sample.results_count,
        "oldest_task_age_sec": sample.oldest_age_s,
        "anomalies": anomaly_names,
        "recommendations": [RECOMMENDATIONS[name] for name in anomaly_names],
        "self_test": False,
        "self_test_task_id": None,
    }


def write_status(outputs: Path, content: dict[str, Any]) -> None:
    """Write the latest status and a dated copy, and delete the oldest copies. Raises OSError."""
    text = json.dumps(content, indent=2) + "\n"
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S%f")
    script_support.write_atomically(outputs / f"watchdog_status_{stamp}.json", text)
    script_support.write_atomically(outputs / "watchdog_status_latest.json", text)
    copies = sorted(path for path in outputs.iterdir() if STATUS_COPY_NAME.fullmatch(path.name))
    for old in copies[:-MAX_STATUS_COPIES]:
        old.unlink(missing_ok=True)


def run_watchdog(options: argparse.Namespace) -> None:
    """Sample and write the status forever.

    A failure to write the status file is logged and does not end the loop.
    """
    previous: QueueSample | None = None
    while True:
        sample = sample_queue(options.server)
        anomalies = find_anomalies(sample, previous, options.stuck_s)
        for name in anomalies:
            log.warning("%s: %s", name, RECOMMENDATIONS[name])
            if options.auto_recover:
                log.info("auto-recover only recommends here, nothing is restarted: %s", name)
        try:
            write_status(options.outputs, build_status(options.server, sample, anomalies))
        except OSError as error:
            log.error("status not written: %s", error)
        previous = sample
        time.sleep(options.interval)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--interval", type=script_support.seconds, default=60.0)
    parser.add_argument("--auto-recover", action="store_true", help="log what it would do, only")
    parser.add_argument("--outputs", type=Path, default=Path())
    parser.add_argument("--stuck-s", type=script_support.seconds, default=60.0)
    options = parser.parse_args()
    script_support.set_up_script()
    run_watchdog(options)


if __name__ == "__main__":
    main()
