"""Costs of watching an idle box: the console, the floors and the peers."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.bench import machine, peers
from tests.bench.peers import Peer
from tests.bench.plan import Plan, say, shuffled
from tests.bench.quiet import Box, quiet_box
from tests.bench.table import Row, Runs, least, median, of
from tests.bench.terminal import Ended, Terminal

OURS = "ours"
FLOOR, STILL = "Textual", "Textual, still"
NAME = "watching"
CROWDED = ("htop", "glances")
"""Peers that list processes, measured among many processes too."""


@dataclass(slots=True)
class Seen:
    """Measured values: figure -> program -> one value for each measurement."""

    figures: defaultdict[str, defaultdict[str, list[float]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    left_on: set[str] = field(default_factory=set)

    def note(self, who: str, **values: float) -> None:
        for name, value in values.items():
            self.figures[name][who].append(value)

    def row(self, name: str, figure: str, unit: str, budget: str, limit: Limit) -> Row:
        """Return the table row of a figure."""
        runs = self.figures[name]
        others = {who: values for who, values in runs.items() if who != OURS}
        return Row(figure, unit, budget, runs[OURS], limit(runs), others)


Limit = Callable[[Runs], float | None]


def measure(plan: Plan) -> Iterator[Row]:
    """Measure every figure of the terminal programs."""
    seen = Seen()
    with quiet_box() as box:
        programs = [ours(box), *peers.screens()]
        crowded = [one for one in programs if one.name in (OURS, FLOOR, *CROWDED)]
        servants = [box.daemon, *box.shims]
        for number in range(1, plan.rounds + 1):
            say(f"opening, round {number}")
            for program in shuffled(programs, plan.calls):
                opening(seen, program)
            for program in programs:
                say(f"watching, round {number}: {program.name}")
                one_session(plan, seen, program, servants if program.name == OURS else ())
            with machine.sleepers(plan.crowd):
                time.sleep(machine.YOUNG_S)
                for program in crowded:
                    say(f"watching among {plan.crowd} more, round {number}: {program.name}")
                    among_many(plan, seen, program, servants if program.name == OURS else ())
            seen.note(OURS, crowd_mb=machine.uss_mb(servants[:1]))
    yield from (row(seen) for row in ROWS)


def ours(box: Box) -> Peer:
    """Return the console as one of the programs."""
    return Peer(OURS, box.argv(), "HEALTHY", whole="q leave")


def opening(seen: Seen, program: Peer) -> None:
    """Open a program, wait until it has painted, and quit it."""
    try:
        with Terminal(program.argv) as terminal:
            first, whole = painted(terminal, program)
            seen.note(program.name, first_paint_s=first, whole_paint_s=whole)
            terminal.read(0.2)
            terminal.quit([program.quit])
    except Ended as error:
        say(str(error))


def painted(terminal: Terminal, program: Peer) -> tuple[float, float]:
    """Return the seconds from the start to the first paint and to the whole. Raises Ended."""
    first = terminal.shows(lambda text: program.ready in text)
    whole = terminal.shows(lambda text: program.whole in text) if program.whole else first
    return first - terminal.started, whole - terminal.started


def one_session(plan: Plan, seen: Seen, program: Peer, servants: Sequence[int]) -> None:
    """Open a program, watch it, press keys and quit it."""
    try:
        with Terminal(program.argv) as terminal:
            painted(terminal, program)
            watch(plan, seen, program, terminal, servants)
            press(plan, seen, program, terminal)
            quit_s, left_on = terminal.quit([program.quit])
            seen.note(program.name, quit_s=quit_s)
            if program.name == OURS:
                seen.left_on.update(left_on)
    except Ended as error:
        say(str(error))


def watch(
    plan: Plan, seen: Seen, program: Peer, terminal: Terminal, servants: Sequence[int]
) -> None:
    """Measure CPU, bytes written and memory while no key is pressed."""
    terminal.read(plan.calm_s(program.name == OURS))
    terminal.blind()
    whole = [*terminal.pids(), *servants]
    began, used = time.monotonic(), machine.cpu_s(whole)
    terminal.read(plan.window_s)
    took = time.monotonic() - began
    minute = terminal.written(began) * 60 / took
    cpu = 100 * (machine.cpu_s(whole) - used) / took
    seen.note(program.name, cpu_percent=cpu, bytes_min=minute)
    seen.note(program.name, uss_mb=machine.uss_mb(terminal.pids()))
    if servants:
        seen.note(OURS, daemon_mb=machine.uss_mb(servants[:1]))
        seen.note(OURS, shim_mb=max(machine.uss_mb([pid]) for pid in servants[1:]))


def press(plan: Plan, seen: Seen, program: Peer, terminal: Terminal, figure: str = "key") -> None:
    """Measure the time from a key to the first byte and to the last one."""
    keys = [program.key, "Up" if program.key == "Down" else program.key]
    answers = [terminal.press(keys[number % 2]) for number in range(plan.presses)]
    if told := [answer for answer in answers if answer is not None]:
        first, quiet = (median(values) for values in zip(*told, strict=True))
        seen.note(program.name, **{f"{figure}_first_ms": first, f"{figure}_quiet_ms": quiet})


def among_many(plan: Plan, seen: Seen, program: Peer, servants: Sequence[int]) -> None:
    """Measure the CPU on a machine with many more processes."""
    try:
        with Terminal(program.argv) as terminal:
            terminal.shows(lambda text: program.ready in text)
            terminal.read(plan.calm_s(program.name == OURS))
            terminal.blind()
            whole = [*terminal.pids(), *servants]
            began, used = time.monotonic(), machine.cpu_s(whole)
            terminal.read(plan.window_s)
            took = time.monotonic() - began
            used = 100 * (machine.cpu_s(whole) - used) / took
            seen.note(program.name, crowd_percent=used)
            terminal.quit([program.quit])
    except Ended as error:
        say(str(error))


# --- the figures, each with its budget -------------------------------------------------------


def first_paint(seen: Seen) -> Row:
    """Return the row of the first paint: the verdict, shown before the rest is loaded."""
    return seen.row(
        "first_paint_s", "first paint: the verdict, 120×40, daemon running", "s",
        "≤ 1.25 × the bare Textual app; below glances",
        lambda runs: least(of(runs, FLOOR, 1.25), of(runs, "glances")),
    )  # fmt: skip


def whole_paint(seen: Seen) -> Row:
    """Return the row of the whole paint; a bare Textual app is later than glances."""
    return seen.row(
        "whole_paint_s", "the whole console is painted", "s",
        "≤ 1.25 × the bare Textual app", lambda runs: of(runs, FLOOR, 1.25),
    )  # fmt: skip


def cpu(seen: Seen) -> Row:
    return seen.row(
        "cpu_percent", "CPU of console, daemon and shims, watching", "% of a core",
        "≤ 0.6 %; aim 0.3 %", lambda runs: 0.6,
    )  # fmt: skip


def crowd_cpu(seen: Seen) -> Row:
    alone = seen.figures["cpu_percent"]
    return seen.row(
        "crowd_percent", "the same with 2,000 more processes", "% of a core",
        "≤ 1.2 × without them, and ≤ 1 %", lambda runs: least(of(alone, OURS, 1.2), 1.0),
    )  # fmt: skip


def bytes_minute(seen: Seen) -> Row:
    return seen.row(
        "bytes_min", "bytes to the terminal per minute", "", "≤ 8 kB", lambda runs: 8_000.0
    )


def key_first(seen: Seen) -> Row:
    return seen.row(
        "key_first_ms", "key to first byte", "ms", "≤ 1.5 × the bare Textual app",
        lambda runs: of(runs, FLOOR, 1.5),
    )  # fmt: skip


def key_quiet(seen: Seen) -> Row:
    return seen.row(
        "key_quiet_ms", "key to quiet", "ms", "≤ 1.5 × the bare Textual app",
        lambda runs: of(runs, FLOOR, 1.5),
    )  # fmt: skip


def console_memory(seen: Seen) -> Row:
    return seen.row(
        "uss_mb", "memory of the console (USS)", "MB", "≤ 1.4 × the bare Textual app",
        lambda runs: of(runs, FLOOR, 1.4),
    )  # fmt: skip


def daemon_memory(seen: Seen) -> Row:
    return seen.row("daemon_mb", "memory of the daemon (USS)", "MB", "≤ 25 MB", lambda runs: 25.0)


def crowd_memory(seen: Seen) -> Row:
    return seen.row(
        "crowd_mb", "memory of the daemon after 2,000 more processes", "MB", "≤ 25 MB",
        lambda runs: 25.0,
    )  # fmt: skip


def shim_memory(seen: Seen) -> Row:
    return seen.row("shim_mb", "memory of the largest shim (USS)", "MB", "≤ 9 MB", lambda runs: 9.0)


def leaving(seen: Seen) -> Row:
    return seen.row(
        "quit_s", "quit", "s", "≤ the bare Textual app + 50 ms",
        lambda runs: of(runs, FLOOR, plus=0.05),
    )  # fmt: skip


def restored(seen: Seen) -> Row:
    what = ", ".join(sorted(seen.left_on)) or "nothing"
    budget = "the terminal is restored every time"
    return Row(f"left on by quitting: {what}", "", budget, [float(len(seen.left_on))], 0.0)


ROWS = (
    first_paint, whole_paint, cpu, crowd_cpu, bytes_minute, key_first, key_quiet, console_memory,
    daemon_memory, crowd_memory, shim_memory, leaving, restored,
)  # fmt: skip
