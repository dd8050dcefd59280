"""The watchdog: looks at the queue each interval and writes down what is wrong with it."""

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

if TYPE_CHECKING:
    from . import script_support
else:  # run by path, with this directory on the search path
    import script_support

KEPT_COPIES = 50
COPY = re.compile(r"watchdog_status_\d{8}_\d{12}\.json")
ADVICE = {
    "server_down": "start the queue server, or look at why it does not answer",
    "queue_stuck": "look at the oldest task: it has waited longer than it should",
    "consumers_not_consuming": "restart the worker: tasks wait and none is taken",
}
log = logging.getLogger("watchdog")


@dataclass(frozen=True)
class Look:
    """What one look at the server showed; None is what could not be learnt."""

    health_ok: bool
    queue_size: int | None = None
    results_count: int | None = None
    inflight: int | None = None
    oldest_age_s: float | None = None


def look(server: str) -> Look:
    """Ask the server how it is; one that does not answer is asked nothing more."""
    try:
        health = script_support.call(server, "/api/health")
    except script_support.NoAnswer as reason:
        log.warning("no health: %s", reason)
        return Look(False)
    size, results = count(health.get("queue_size")), count(health.get("results_count"))
    try:
        inflight = count(script_support.call(server, "/api/stats").get("inflight"))
        oldest = oldest_age(script_support.call(server, "/api/tasks")) if size else None
    except script_support.NoAnswer as reason:
        log.warning("health only: %s", reason)
        inflight = oldest = None
    return Look(health.get("status") == "ok", size, results, inflight, oldest)


def count(value: object) -> int | None:
    """A whole number that is not negative."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def oldest_age(tasks: dict[str, Any]) -> float | None:
    """Seconds since the oldest queued task was created, by the server's local clock."""
    listed = [tasks.get(f"queue_{priority}") for priority in ("urgent", "normal", "low")]
    ages = [age(task) for queue in listed if isinstance(queue, list) for task in queue]
    return max((one for one in ages if one is not None), default=None)


def age(task: object) -> float | None:
    """Seconds since one task was created."""
    try:
        created = datetime.fromisoformat(task["created_at"])  # type: ignore[index]
        return max(0.0, round((datetime.now(created.tzinfo) - created).total_seconds(), 1))
    except (TypeError, KeyError, ValueError):
        return None


def anomalies(now: Look, before: Look | None, stuck_s: float) -> list[str]:
    """What is wrong, from this look and the one before it."""
    if not now.health_ok:
        return ["server_down"]
    found = []
    if now.oldest_age_s is not None and now.oldest_age_s > stuck_s:
        found.append("queue_stuck")
    waiting = bool(now.queue_size and before and before.queue_size)
    if waiting and before and now.inflight == 0 and now.results_count == before.results_count:
        found.append("consumers_not_consuming")
    return found


def status(server: str, now: Look, found: list[str]) -> dict[str, Any]:
    """The status file's content."""
    return {
        "timestamp": datetime.now(UTC).isoformat(),
        "server_url": server,
        "health_ok": now.health_ok,
        "queue_size": now.queue_size,
        "results_count": now.results_count,
        "oldest_task_age_sec": now.oldest_age_s,
        "anomalies": found,
        "recommendations": [ADVICE[name] for name in found],
        "self_test": False,
        "self_test_task_id": None,
    }


def publish(outputs: Path, content: dict[str, Any]) -> None:
    """Write the latest status and a dated copy, and drop the oldest copies."""
    text = json.dumps(content, indent=2) + "\n"
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S%f")
    script_support.write_whole(outputs / f"watchdog_status_{stamp}.json", text)
    script_support.write_whole(outputs / "watchdog_status_latest.json", text)
    copies = sorted(path for path in outputs.iterdir() if COPY.fullmatch(path.name))
    for old in copies[:-KEPT_COPIES]:
        old.unlink(missing_ok=True)


def watch(options: argparse.Namespace) -> None:
    """Look for ever; a disk that refuses the file does not end the watch."""
    before: Look | None = None
    while True:
        now = look(options.server)
        found = anomalies(now, before, options.stuck_s)
        for name in found:
            log.warning("%s: %s", name, ADVICE[name])
            if options.auto_recover:
                log.info("auto-recover only recommends here, nothing is restarted: %s", name)
        try:
            publish(options.outputs, status(options.server, now, found))
        except OSError as error:
            log.error("status not written: %s", error)
        before = now
        time.sleep(options.interval)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--interval", type=script_support.seconds, default=60.0)
    parser.add_argument("--auto-recover", action="store_true", help="log what it would do, only")
    parser.add_argument("--outputs", type=Path, default=Path())
    parser.add_argument("--stuck-s", type=script_support.seconds, default=60.0)
    options = parser.parse_args()
    script_support.start()
    watch(options)


if __name__ == "__main__":
    main()
