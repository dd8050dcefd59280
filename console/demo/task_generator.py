"""A trickle of harmless tasks, so that a box without users still has something to do."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from . import script_support
else:  # run by path: its own directory is on the search path
    import script_support

MAX_PENDING_TASKS = 6
log = logging.getLogger("trickle")


def random_task(rng: random.Random) -> dict[str, Any]:
    """Return one harmless task of a random type."""
    match rng.choice(("health_check", "wait", "wait", "rpa_command")):
        case "wait":
            return {"type": "wait", "data": {"seconds": round(rng.uniform(0.2, 1.5), 2)}}
        case "rpa_command":
            echo = ["echo", f"invoice {rng.randint(1000, 9999)} filed"]
            script = [sys.executable, "-c", f"print(sum(range({rng.randint(10, 99)})))"]
            command = rng.choice((echo, echo, script))
            return {
                "type": "rpa_command",
                "data": {"action": "run", "params": {"command": command, "timeout": 10}},
            }
    return {"type": "health_check", "data": {}}


def add_task(server: str, rng: random.Random) -> None:
    """Queue one task. Raises RequestFailed.

    Add nothing if `MAX_PENDING_TASKS` tasks wait, or if the server does not report their number.
    """
    pending = script_support.as_number(
        script_support.call_server(server, "/api/stats").get("pending")
    )
    if pending is None or pending >= MAX_PENDING_TASKS:
        log.info("nothing added: %s tasks wait", "unknown" if pending is None else int(pending))
        return
    task = random_task(rng)
    priority = rng.choice(("urgent", "normal", "normal", "low"))
    script_support.call_server(server, f"/api/tasks/create?priority={priority}", task)
    log.info("%s added", task["type"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--every", type=script_support.seconds, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    script_support.set_up_script()
    rng = random.Random(options.seed)
    while True:
        try:
            add_task(options.server, rng)
        except script_support.RequestFailed as reason:
            log.warning("nothing added: %s", reason)
        time.sleep(options.every * rng.uniform(0.5, 1.5))


if __name__ == "__main__":
    main()
