"""A soak test of the daemon's resource usage: `python -m tests.bench.soak [MINUTES [TIMES]]`.

Every monitor runs `TIMES` as often as usual (default 12). The store and the daemon's memory hold
from the start as much as after days of operation: growth beyond that is unbounded.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from console.system.paths import Paths
from tests.bench import machine
from tests.bench.growth import compressed, start_aged
from tests.bench.plan import say
from tests.bench.quiet import ROLES, Box, empty_box
from tests.bench.store import journal

TIMES = 12.0
"""Factor of the monitors' frequency: half an hour stands for six."""
EVERY_S, ENDS_S = 30.0, 300.0
"""Seconds between readings; seconds at the start and at the end that are compared."""

Reading = Mapping[str, float]


def soak(minutes: float, times: float = TIMES) -> list[tuple[float, Reading]]:
    """Run a daemon for some minutes; return (seconds since the start, reading) pairs."""
    read: list[tuple[float, Reading]] = []
    with empty_box(compressed(times), trickle=True) as box:
        start_aged(box, times, (*ROLES, "trickle"))
        pid, began = box.daemon, time.monotonic()
        while (passed := time.monotonic() - began) < 60 * minutes:
            read.append((passed, look(box, pid)))
            say(f"{passed:5.0f} s: " + ", ".join(f"{k} {v:.4g}" for k, v in read[-1][1].items()))
            time.sleep(max(0.0, EVERY_S * len(read) - (time.monotonic() - began)))
    return read


def look(box: Box, pid: int) -> Reading:
    """Take a reading of all that might grow. Raises OSError when the daemon is gone."""
    store = Paths(box.state).store
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    return {
        "RSS, MB": resident * 1024 / 1e6,
        "USS, MB": machine.uss_mb([pid]),
        "descriptors": machine.descriptors(pid),
        "threads": machine.threads(pid),
        "WAL, kB": journal(store).stat().st_size / 1024,
        "CPU, s": machine.cpu_s([pid]),
        "shims' USS, MB": machine.uss_mb(box.shims),
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return a value's growth per hour, by least squares over (seconds, value)."""
    return 3600 * statistics.linear_regression(*zip(*points, strict=True)).slope


def table(read: Sequence[tuple[float, Reading]]) -> str:
    """Return a Markdown table: for each figure, the start beside the end."""
    last = read[-1][0]
    heads = ("figure", "first 5 min", "last 5 min", "most", "growth per hour", "the same settled")
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name in read[0][1]:
        points = [(at, one[name]) for at, one in read]
        early = statistics.mean(value for at, value in points if at < ENDS_S)
        late = statistics.mean(value for at, value in points if at >= last - ENDS_S)
        settled = [one for one in points if one[0] >= ENDS_S] or points
        cells = (early, late, max(value for _, value in points), slope(points), slope(settled))
        lines.append(f"| {name} | " + " | ".join(f"{cell:.4g}" for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    told = [*map(float, sys.argv[1:])] or [30.0]
    sys.stdout.write(table(soak(*told)) + "\n")
