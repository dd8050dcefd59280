"""Durations of starts, of concurrent starts, and of detecting and repairing a death."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from console.demo import script_support
from console.demo.environment import SCRIPTS_DIR
from tests.bench import rivals
from tests.bench.plan import Plan, say
from tests.bench.quiet import Box, empty_box, milliseconds, quiet_box
from tests.bench.table import Row, median, of
from tests.bench.terminal import PATIENCE_S, Ended, Terminal

NAME = "guarding"
MANY, FEW = 64, 16
PLAIN = {"roles": {"worker": {"command": ["sleep", "3600"], "settle_s": 0.0}}}
"""A worker that starts at once and has no settle time."""
BACKOFF_S = 0.01
CROWDS = 7
"""Groups of concurrent callers of each size in each round."""
EAGER = {"roles": {"worker": {"restart": {"backoff_s": BACKOFF_S, "limit": 1000}}}}
"""A restart policy with almost no back-off: the rest of the time is the supervisor's own."""


def measure(plan: Plan) -> Iterator[Row]:
    """Measure the guard, then the supervisor."""
    yield from starts(plan)
    yield from deaths(plan)


# --- starting --------------------------------------------------------------------------------


def starts(plan: Plan) -> Iterator[Row]:
    """Measure starts by 1, 16 and 64 callers, each from no worker to a running one."""
    runs: defaultdict[str, list[float]] = defaultdict(list)
    strays = 0
    with empty_box(PLAIN) as box, rivals.serving() as rival:
        box.run("ensure", "worker")
        for number in range(1, plan.rounds + 1):
            say(f"ensure, round {number}")
            for _ in range(plan.calls):
                runs["ours"].append(from_nothing(box))
                for who, call in rival.starting().items():
                    runs[who].append(call())
            for callers in (FEW, MANY) * CROWDS:
                took, workers = at_once(box, callers)
                runs[f"{callers} callers"].append(took)
                strays += workers != 1
        box.run("kill", "worker", "--yes")
    rivalling = {who: values for who, values in runs.items() if who.endswith("start")}
    yield Row(
        "ensure: from nothing to a running worker", "ms",
        "≤ `supervisorctl start` with `startsecs=0`", runs["ours"],
        of(runs, "supervisorctl start"), rivalling,
    )  # fmt: skip
    yield _many(
        f"{MANY} callers of ensure at once", "≤ 64 × one call", runs, of(runs, "ours", MANY)
    )
    linear = of(runs, f"{FEW} callers", MANY / FEW)
    yield _many(f"{MANY} callers beside {FEW}", "no worse than linearly", runs, linear)
    yield Row("crowds that made other than one worker", "", "0", [float(strays)], 0.0)


def _many(figure: str, budget: str, runs: dict[str, list[float]], limit: float | None) -> Row:
    """Return a row about concurrent callers."""
    others = {f"{FEW} callers": runs[f"{FEW} callers"], "one": runs["ours"]}
    return Row(figure, "ms", budget, runs[f"{MANY} callers"], limit, others)


def from_nothing(box: Box) -> float:
    """Return the milliseconds of an `ensure` that starts; the kill before it is not timed."""
    box.run("kill", "worker", "--yes")
    return box.run("ensure", "worker")


def at_once(box: Box, callers: int) -> tuple[float, int]:
    """Return (milliseconds until the last caller has its answer, distinct workers reported)."""
    box.run("kill", "worker", "--yes")
    line = box.argv("ensure", "worker", "--json")
    began = time.perf_counter()
    asked = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(callers)]
    answers = [process.communicate(timeout=300)[0] for process in asked]
    took = (time.perf_counter() - began) * 1000
    told = {json.loads(answer)["pid"]: answer for answer in answers if answer}
    if len(told) != 1 or not all(answers):
        say(f"{callers} callers were told: {told}, {answers.count('')} nothing")
    return took, len(told.keys() - {None})  # a caller that timed out reports no PID


# --- deaths ----------------------------------------------------------------------------------


def deaths(plan: Plan) -> Iterator[Row]:
    """Kill the worker while a console runs; time its row's change and the return to READY."""
    rows, ready, own = [], [], []
    with quiet_box(EAGER) as box, Terminal(box.argv()) as terminal, work_for(box):
        terminal.shows(lambda text: "HEALTHY" in text)
        for number in range(1, plan.rounds * 3 + 1):
            say(f"death {number}")
            box.run("ensure", "worker")  # in case the restart policy has not started it again
            terminal.shows(_ready)
            terminal.read(2.0)
            own.append(own_start())
            pid, killed = box.pid("worker"), time.monotonic()
            os.kill(pid, signal.SIGKILL)
            rows.append(_within(terminal, _gone(pid), killed) * 1000)
            ready.append(_within(terminal, _ready, killed))
        terminal.quit(["q"])
    yield Row("death of a worker to its row on the screen", "ms", "≤ 200 ms", rows, 200.0)
    limit = 1.0 + median(own)
    yield Row(
        "death of a worker to READY", "s", "≤ 1 s + the worker's own start", ready, limit,
        {"own start": own}, note=f"back-off set to {BACKOFF_S:g} s",
    )  # fmt: skip


def own_start() -> float:
    """Return the seconds that the worker's script takes to start by itself."""
    return milliseconds([sys.executable, str(SCRIPTS_DIR / "rpa_worker.py"), "--help"]) / 1000


def _within(terminal: Terminal, what: Callable[[str], bool], since: float) -> float:
    """Return the seconds until the screen shows a text; on a timeout, PATIENCE_S."""
    try:
        return terminal.shows(what) - since
    except Ended as error:
        say(str(error))
        return PATIENCE_S


def _ready(text: str) -> bool:
    return _state(text, "worker") == "READY"


def _gone(pid: int) -> Callable[[str], bool]:
    """Return a test that the instance's row is gone or its role is neither READY nor RUNNING."""
    row = re.compile(rf"│[ ▸]*{pid} [^\n]*leased")
    return lambda text: not row.search(text) or _state(text, "worker") not in ("READY", "RUNNING")


def _state(text: str, role: str) -> str:
    """Return the state of a role on the screen, or an empty string."""
    found = re.search(rf"│[ ▸]*{role} +\S+ ([A-Z]+) ", text)
    return found[1] if found else ""


@contextmanager
def work_for(box: Box) -> Iterator[None]:
    """Add five tasks a second to the queue until the block ends."""
    url = str(box.ask("status")["queue"]["url"])
    over = threading.Event()

    def feed() -> None:
        while not over.wait(0.2):
            try:
                script_support.call_server(
                    url, "/api/tasks/create", {"type": "health_check", "data": {}}
                )
            except script_support.RequestFailed:
                continue

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
