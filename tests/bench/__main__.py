"""Measure the console and its peers, interleaved; write docs/cost.md; exit 1 on a missed budget."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from tests.bench import peers
from tests.bench.plan import Plan, say
from tests.bench.table import Row, markdown

PARTS = ("commands", "guarding", "scale", "watching", "keys", "growth")
RESULTS = Path(__file__).parents[2] / "docs" / "cost.md"
MODULES = ("textual", "psutil", "apsw", "msgspec", "click")
HEAD = """# What it costs

Written by `make bench`. A limit is what a budget comes to in this run: others' medians times the
factor allowed. Ratio: our median over the limit, to be 1 or less. Rounds are interleaved: each
takes all programs in turn, so that a machine that drifts drifts for all of them.

"""


def main() -> int:
    """Run the requested parts. Return 1 if a budget is missed or a part fails, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often all are measured (3; quick: 2)")
    parser.add_argument("--only", action="append", choices=PARTS, help="one part of the table")
    parser.add_argument("--quick", action="store_true", help="short windows, for development")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the table is written")
    options = parser.parse_args()
    plan = Plan(options.rounds or (2 if options.quick else 3), options.quick)
    skipped = peers.get()
    rows: list[Row] = []
    trouble: list[str] = []
    for name in options.only or PARTS:
        try:
            rows += import_module(f"tests.bench.{name}").measure(plan)
        except Exception as error:
            say(f"{name}: {error!r}")
            trouble.append(f"{name}: {type(error).__name__}, {str(error).partition(':')[0]}")
    options.out.write_text(report(plan, rows, skipped, trouble), encoding="utf-8")
    missed = [row.figure for row in rows if row.missed]
    sys.stdout.write(markdown(rows) + "\n")
    say(f"{len(rows)} figures, {len(missed)} missed: {'; '.join(missed)}")
    return 1 if missed or trouble else 0


def report(plan: Plan, rows: Sequence[Row], skipped: dict[str, str], trouble: Sequence[str]) -> str:
    """Return the report as Markdown."""
    how = f"{plan.rounds} rounds{', quick' if plan.quick else ''}"
    date = datetime.datetime.now(datetime.UTC).date()
    parts = [HEAD, f"{date}, {how}. {machine()}\n\n", markdown(rows), "\n\n"]
    told = {**peers.versions(), **{name: version(name) for name in MODULES}}
    parts.append("Versions: " + ", ".join(f"{who} {which}" for who, which in told.items()) + ".\n")
    parts += [f"\nSkipped: {name}: {reason}.\n" for name, reason in skipped.items()]
    parts += [f"\nNot measured: {what}\n" for what in trouble]
    return "".join(parts)


def machine() -> str:
    """Describe the machine, without its name."""
    load = os.getloadavg()[1]
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the end."
    )


if __name__ == "__main__":
    sys.exit(main())
