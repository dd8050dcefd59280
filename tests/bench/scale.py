"""Costs that must not grow with the box: a process table scan and a round of the monitors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil

from console.demo.environment import find_free_port
from console.demo.script_support import RequestFailed, call_server
from console.monitors import discover_monitors
from console.runtime.loop import Runtime
from console.runtime.snapshots.store_view import StoreView
from console.system.box import Box, open_box
from console.system.config.loader import load
from console.system.processes.process_table import ProcessTable
from tests.bench import machine
from tests.bench.plan import Plan, say
from tests.bench.quiet import empty_box
from tests.bench.store import fill
from tests.bench.table import Row, median, of

NAME = "scale"
CROWDS = (100, 1_000, 5_000)
RESULTS = (10, 100_000)
DAYS = (1, 365)
ROUND = ("queue", "worker", "watchdog", "pipeline")
"""The monitors of one round. A canary is left out: it mostly waits for a worker."""
LOOKS = 7
FIELDS = ["pid", "ppid", "create_time", "cmdline"]


def measure(plan: Plan) -> Iterator[Row]:
    """Measure the process table, then the monitors."""
    yield from looks(plan)
    yield from rounds(plan)


# --- the process table -----------------------------------------------------------------------


def looks(plan: Plan) -> Iterator[Row]:
    """Measure scans of many processes, beside psutil with the same fields."""
    for crowd in CROWDS:
        ours, theirs, pids = [], [], []
        missed = 0
        with machine.sleepers(max(0, crowd - machine.processes())):
            say(f"a look at {crowd} processes")
            time.sleep(machine.YOUNG_S)
            table = ProcessTable()
            table.scan()
            for _ in range(plan.rounds * LOOKS):
                ours.append(_timed(table.scan))
                theirs.append(_timed(lambda: list(psutil.process_iter(FIELDS))))
                pids.append(_timed(psutil.pids))
            missed += not _sees_a_new_one(table)
        runs = {"process_iter": theirs, "list of PIDs": pids}
        yield Row(
            f"one look at {crowd:,} processes", "ms", "≤ 0.1 × `psutil.process_iter`", ours,
            of(runs, "process_iter", 0.1), runs,
        )  # fmt: skip
        yield Row(f"new processes missed among {crowd:,}", "", "0", [float(missed)], 0.0)


def _sees_a_new_one(table: ProcessTable) -> bool:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as new:
        return any(process.pid == new.pid for process in table.scan())


def _timed(what: Callable[[], object]) -> float:
    """Call a function; return its milliseconds."""
    began = time.perf_counter()
    what()
    return (time.perf_counter() - began) * 1000


# --- one round of the monitors ---------------------------------------------------------------


def rounds(plan: Plan) -> Iterator[Row]:
    """Measure a round with few and many results on the server and rows in the store."""
    runs: defaultdict[str, list[float]] = defaultdict(list)
    with ExitStack() as open_ones:
        ask = {f"{n:,} results": open_ones.enter_context(monitored(n, 1)) for n in RESULTS}
        ask |= {f"{n} days": open_ones.enter_context(monitored(RESULTS[0], n)) for n in DAYS}
        for number in range(1, plan.rounds + 1):
            say(f"a round of the monitors, round {number}")
            for _ in range(LOOKS):
                for what, box in ask.items():
                    runs[what].append(one_round(box))
                    runs[f"{what}, opened"].append(opened(box))
    for few, many in ([f"{n:,} results" for n in RESULTS], [f"{n} days" for n in DAYS]):
        yield _flat("one monitor round at", few, many, runs)
    few, many = (f"{n} days, opened" for n in DAYS)
    yield _flat("the store read anew at", few, many, runs)


def _flat(figure: str, few: str, many: str, runs: dict[str, list[float]]) -> Row:
    """Return a row whose limit for many is the cost of few, with a tolerance."""
    limit = median(runs[few]) * 1.2
    return Row(f"{figure} {many}", "ms", "flat: ≤ 1.2 ×", runs[many], limit, {few: runs[few]})


@contextmanager
def monitored(results: int, days: int) -> Iterator[Runtime]:
    """Open a runtime with `results` on its queue server and `days` of history."""
    say(f"preparing {results:,} results, {days} days")
    with serving(results) as port:
        change = {"queue": {"url": f"http://127.0.0.1:{port}"}}
        with empty_box(change) as made, open_box(load(made.config), made.state) as box:
            fill(box.paths.store, days)
            runtime = Runtime(box, discover_monitors(), is_holder=True)
            runtime.view.refresh()
            yield runtime


def one_round(runtime: Runtime) -> float:
    """Return the milliseconds of one sample by every monitor and the snapshot after them."""

    async def look() -> None:
        for name in ROUND:
            await runtime.probe(name)
        runtime.view.compose()

    began = time.perf_counter()
    asyncio.run(look())
    return (time.perf_counter() - began) * 1000


def opened(runtime: Runtime) -> float:
    """Return the milliseconds from a store on disk to a snapshot, as at a console's start."""
    box: Box = runtime.box
    view = StoreView(box, discover_monitors())
    began = time.perf_counter()
    view.refresh()
    view.compose()
    return (time.perf_counter() - began) * 1000


@contextmanager
def serving(results: int) -> Iterator[int]:
    """Run the demo queue server with `results` results; yield its port."""
    port = find_free_port()
    line = [sys.executable, "-m", "tests.bench.full_queue", str(port), str(results)]
    server = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        machine.wait_for(lambda: _answers(port), 120, "the queue server")
        yield port
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    try:
        return bool(call_server(f"http://127.0.0.1:{port}", "/api/health"))
    except RequestFailed:
        return False
