"""Key latency on a large box: 300 instances and a long event log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from console.core.model.events import Event, EventKind
from console.system import clock
from console.system.paths import Paths
from console.system.store.store import Store
from tests.bench import machine, peers
from tests.bench.plan import Plan, say
from tests.bench.quiet import Box, empty_box
from tests.bench.table import Row, of
from tests.bench.terminal import Ended, Terminal
from tests.bench.watching import FLOOR, OURS, Seen, ours, press

NAME = "keys"
INSTANCES, LEDGER = 300, 2_000
FULL = f"{INSTANCES} instances, {LEDGER:,} lines of the ledger"


def measure(plan: Plan) -> Iterator[Row]:
    """Measure the time from a key to the first and last byte, beside the bare Textual app."""
    seen = Seen()
    with ExitStack() as over:
        box = over.enter_context(empty_box())
        crowd(box, over)
        for number in range(1, plan.rounds + 1):
            for program in (ours(box), peers.FLOORS[0]):
                say(f"keys, round {number}: {program.name}")
                session(plan, seen, program)
        box.run("daemon", "stop")
    for name, figure in (("key_first_ms", "key to first byte"), ("key_quiet_ms", "key to quiet")):
        runs, budget = seen.figures[name], "≤ 1.5 × the bare Textual app"
        others = {FLOOR: runs[FLOOR]}
        yield Row(f"{figure}, {FULL}", "ms", budget, runs[OURS], of(runs, FLOOR, 1.5), others)


def crowd(box: Box, over: ExitStack) -> None:
    """Start the workers, fill the event log and start the daemon."""
    script = box.directory / "rpa_worker.py"
    script.write_text("read line\n")
    argv = ("sh", str(script))
    over.enter_context(machine.sleepers(INSTANCES, argv, {"PATH": "/usr/bin:/bin", **box.env}))
    box.run("config", "validate")
    Paths(box.state).create_directories()
    store = Store(Paths(box.state).store)
    for line in range(LEDGER):
        reason = f"line {line} of a long story"
        store.add_event(Event(EventKind.NOTICED, clock.now(), "worker", "cli:ana@pts/3", reason))
    store.close()
    box.run("daemon", "start")


def session(plan: Plan, seen: Seen, program: peers.Peer) -> None:
    """Open a program, let it settle, press its keys and quit."""
    ready = "leased" if program.name == OURS else program.ready
    try:
        with Terminal(program.argv) as terminal:
            terminal.shows(lambda text: ready in text or "adopted" in text)
            terminal.read(plan.calm_s(program.name == OURS))
            terminal.blind()
            press(plan, seen, program, terminal)
            terminal.quit([program.quit])
    except Ended as error:
        say(str(error))
