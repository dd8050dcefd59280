"""An hour of watching in minutes: the monitors' intervals are compressed, and nothing may grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from console.system.paths import Paths
from console.system.store import Store
from tests.bench import machine
from tests.bench.plan import Plan, say
from tests.bench.quiet import Box, Change, empty_box, start
from tests.bench.store import fill, fill_journal, journal
from tests.bench.table import Row
from tests.bench.terminal import Terminal

NAME = "growth"
HOUR_S = 3_600.0
INTERVALS = {"queue": 10, "watchdog": 30, "pipeline": 30, "worker": 300, "canary": 1_800}
LOOKS = 15
"""Readings in each third of the hour; the first third is warming up."""


def measure(plan: Plan) -> Iterator[Row]:
    """Memory, descriptors, threads and WAL of console and daemon."""
    seen: defaultdict[str, list[float]] = defaultdict(list)
    factor = HOUR_S / plan.growth_s
    with empty_box(compressed(factor)) as box:
        Paths(box.state).prepare()
        Store(Paths(box.state).store).close()
        fill(Paths(box.state).store, 1, factor)  # what memory may hold is there from the start
        start(box)
        fill_journal(Paths(box.state).store)
        with Terminal(box.argv()) as terminal:
            terminal.shows(lambda text: "HEALTHY" in text)
            terminal.blind()
            for third in ("warming up", "earlier", "later"):
                say(f"an hour in {plan.growth_s:g} s: {third}")
                for _ in range(LOOKS):
                    terminal.read(plan.growth_s / 3 / LOOKS)
                    look(seen, box, terminal.process.pid, third)
            terminal.quit(["q"])
    note = f"an hour's rounds in {plan.growth_s:g} s"
    for figure in sorted({name.split("|")[0] for name in seen}):
        earlier, later = seen[f"{figure}|earlier"], seen[f"{figure}|later"]
        grown = max(0.0, min(later) - max(earlier))
        yield Row(f"growth of {figure}", "", "0", [grown], 0.0, {"earlier": earlier}, note)


def compressed(factor: float) -> Change:
    """Every monitor so many times as often."""
    return {"monitors": {name: {"every_s": s / factor} for name, s in INTERVALS.items()}}


def look(seen: defaultdict[str, list[float]], box: Box, console: int, third: str) -> None:
    """One reading of everything that might grow."""
    servants = {"console": console, "daemon": box.daemon}
    for who, pid in servants.items():
        seen[f"memory of the {who}, MB|{third}"].append(machine.uss_mb([pid]))
        seen[f"descriptors of the {who}|{third}"].append(machine.descriptors(pid))
        seen[f"threads of the {who}|{third}"].append(machine.threads(pid))
    seen[f"WAL, kB|{third}"].append(journal(Paths(box.state).store).stat().st_size / 1024)
