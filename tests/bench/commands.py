"""Durations of one-shot commands: the console's, bare Python's, supervisorctl's and pm2's."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

from tests.bench import rivals
from tests.bench.plan import Plan, say, shuffled
from tests.bench.quiet import Box, milliseconds, quiet_box
from tests.bench.table import Row, least, median, of

NAME = "commands"
IMPORTS = {
    "--version": "import click",
    "status --json": "import click, msgspec, apsw, tomllib, json, datetime",
    "ensure, healthy": "import click, msgspec, apsw, tomllib, json, datetime, subprocess",
}
"""Command -> the imports that it needs at least."""
BUDGET = "≤ 3 × `python -c pass` + the imports it cannot do without; below the others"


def measure(plan: Plan) -> Iterator[Row]:
    """Measure every command in each round, in shuffled order."""
    runs: defaultdict[str, list[float]] = defaultdict(list)
    with quiet_box() as box, rivals.serving() as rival:
        words = our_commands(box)
        calls = dict(words)
        calls["python -c pass"] = [sys.executable, "-c", "pass"]
        calls |= {f"{of} imports": [sys.executable, "-c", code] for of, code in IMPORTS.items()}
        timed = {name: _timer(argv) for name, argv in calls.items()} | rival.asking()
        for number in range(1, plan.rounds + 1):
            say(f"commands, round {number}")
            for name, call in shuffled(timed.items(), 2 * plan.calls):
                runs[name].append(call())
        for name, argv in words.items():
            yield _row(name, runs)
            yield _textual(name, argv)


def our_commands(box: Box) -> dict[str, list[str]]:
    """Return the most frequent commands: figure -> argument vector."""
    return {
        "--version": box.argv("--version"),
        "status --json": box.argv("status", "--json"),
        "ensure, healthy": box.argv("ensure", "worker"),
    }


def _timer(argv: list[str]) -> Callable[[], float]:
    return lambda: milliseconds(argv)


def _row(name: str, runs: defaultdict[str, list[float]]) -> Row:
    """Return a row of the command's durations beside its limit."""
    python, imports = median(runs["python -c pass"]), median(runs[f"{name} imports"])
    own = 3 * python + imports - python
    peers = ("supervisorctl status", "pm2 jlist")
    limit = least(own, *(of(runs, peer) for peer in peers))
    shown = ("python -c pass", f"{name} imports", *peers)
    return Row(name, "ms", BUDGET, runs[name], limit, {who: runs[who] for who in shown})


def _textual(name: str, argv: list[str]) -> Row:
    """Return a row of the number of Textual modules that a command imports."""
    line = [sys.executable, "-X", "importtime", *argv]
    told = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False).stderr
    modules = [line.split("|")[-1].strip() for line in told.splitlines() if "|" in line]
    found = sum(module.split(".")[0] == "textual" for module in modules)
    figure = f"{name}: modules of Textual imported"
    return Row(figure, "", "never", [float(found)], 0.0, note=f"{len(modules)} modules in all")
