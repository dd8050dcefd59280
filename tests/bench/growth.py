"""Resource growth over an hour of watching, compressed into minutes by shorter intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from console.system.paths import Paths
from console.system.store.store import Store
from tests.bench import machine
from tests.bench.plan import Plan, say
from tests.bench.quiet import ROLES, Box, Change, empty_box, start
from tests.bench.store import fill, fill_journal, journal
from tests.bench.table import Row
from tests.bench.terminal import Terminal

NAME = "growth"
HOUR_S = 3_600.0
INTERVALS = {"queue": 10, "watchdog": 30, "pipeline": 30, "worker": 300, "canary": 1_800}
LOOKS = 15
"""Readings in each third of the hour, and in the warm-up before it."""
PAST_H = 25.0
"""Hours of samples: more than memory keeps, including the console's trends of a day."""
LINES = 6_000
"""Events in the log: more than one read returns."""


def measure(plan: Plan) -> Iterator[Row]:
    """Measure the growth of memory, descriptors, threads and WAL of console and daemon."""
    seen: defaultdict[str, list[float]] = defaultdict(list)
    factor = HOUR_S / plan.growth_s
    with empty_box(compressed(factor)) as box:
        start_aged(box, factor)
        fill_journal(Paths(box.state).store)
        with Terminal(box.argv()) as terminal:
            terminal.shows(lambda text: "HEALTHY" in text)
            terminal.blind()
            for third in ("warming up", "earlier", "between", "later"):
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


def start_aged(box: Box, factor: float, roles: Sequence[str] = ROLES) -> None:
    """Start a box whose store already fills the memory limits: later growth is unbounded."""
    start(box, roles)
    seen = _seen(box)
    box.run("daemon", "stop")
    fill(Paths(box.state).store, PAST_H / 24 * factor, factor, seen, LINES)
    box.run("daemon", "start")


def _seen(box: Box) -> dict[str, object]:
    """Return the newest sample data of each monitor.

    Filler rows with smaller data would make memory grow as real samples replace them.
    """
    store = Store(Paths(box.state).store)
    machine.wait_for(lambda: all(store.samples(name) for name in INTERVALS), 300, "a look by each")
    seen: dict[str, object] = {name: store.samples(name)[-1].data for name in INTERVALS}
    store.close()
    return seen


def compressed(factor: float) -> Change:
    """Return a configuration change that divides every monitor's interval by `factor`."""
    return {"monitors": {name: {"every_s": s / factor} for name, s in INTERVALS.items()}}


def look(seen: defaultdict[str, list[float]], box: Box, console: int, third: str) -> None:
    """Take one reading of all figures that might grow."""
    servants = {"console": console, "daemon": box.daemon}
    for who, pid in servants.items():
        seen[f"memory of the {who}, MB|{third}"].append(machine.uss_mb([pid]))
        seen[f"descriptors of the {who}|{third}"].append(machine.descriptors(pid))
        seen[f"threads of the {who}|{third}"].append(machine.threads(pid))
    seen[f"WAL, kB|{third}"].append(journal(Paths(box.state).store).stat().st_size / 1024)
