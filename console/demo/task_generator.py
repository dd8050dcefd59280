"""A trickle of harmless tasks, so that a box without users still has something to do."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import script_support
else:  # run by path, with this directory on the search path
    import script_support

MOST_PENDING = 6
log = logging.getLogger("trickle")


def task(chance: random.Random) -> dict[str, Any]:
    """One task of a random, harmless kind."""
    match chance.choice(("health_check", "wait", "wait", "rpa_command")):
        case "wait":
            return {"type": "wait", "data": {"seconds": round(chance.uniform(0.2, 1.5), 2)}}
        case "rpa_command":
            echo = ["echo", f"invoice {chance.randint(1000, 9999)} filed"]
            script = [sys.executable, "-c", f"print(sum(range({chance.randint(10, 99)})))"]
            command = chance.choice((echo, echo, script))
            return {
                "type": "rpa_command",
                "data": {"action": "run", "params": {"command": command, "timeout": 10}},
            }
    return {"type": "health_check", "data": {}}


def add(server: str, chance: random.Random) -> None:
    """Queue one task, unless enough of them wait already or nobody can say how many do."""
    pending = script_support.number(script_support.call(server, "/api/stats").get("pending"))
    if pending is None or pending >= MOST_PENDING:
        log.info("nothing added: %s tasks wait", "unknown" if pending is None else int(pending))
        return
    new = task(chance)
    priority = chance.choice(("urgent", "normal", "normal", "low"))
    script_support.call(server, f"/api/tasks/create?priority={priority}", new)
    log.info("%s added", new["type"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=script_support.server_url, default="http://127.0.0.1:8091")
    parser.add_argument("--every", type=script_support.seconds, default=4.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    script_support.start()
    chance = random.Random(options.seed)
    while True:
        try:
            add(options.server, chance)
        except script_support.NoAnswer as reason:
            log.warning("nothing added: %s", reason)
        time.sleep(options.every * chance.uniform(0.5, 1.5))


if __name__ == "__main__":
    main()
