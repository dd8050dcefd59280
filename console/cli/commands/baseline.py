"""`baseline`: collect hours of normal operation, judge them, learn from them."""

from __future__ import annotations

from typing import Any

import click

from console.cli.context import Options, actor, pass_options
from console.cli.output import fail, put, put_json, say
from console.core.exit_codes import FAILURE, USAGE
from console.core.model import BaselineView, Outcome
from console.core.text.command_hint import step

_MARKS = {"pass": "[x]", "fail": "[!]"}


@click.group()
def baseline() -> None:
    """The normal baseline: start, follow, stop, keep, compare."""


@baseline.command()
@click.option("--hours", type=float, help="6 to 8. Default: as configured.")
@pass_options
def start(options: Options, hours: float | None) -> None:
    """Start collecting. It goes on without this terminal, and across restarts."""
    from console.runtime.baseline import runs

    low, high = runs.FEWEST_HOURS, runs.MOST_HOURS
    if hours is not None and not low <= hours <= high:
        fail(f"--hours: found {hours:g}, expected {low:g} to {high:g}", USAGE)
    with options.box() as box:
        options.writable(box)
        _finish(runs.start(box, actor(), hours))


@baseline.command()
@pass_options
def stop(options: Options) -> None:
    """End the run now; what it has shown is kept."""
    from console.runtime.baseline import runs

    with options.box() as box:
        options.writable(box)
        _finish(runs.stop(box, actor()))


@baseline.command()
@pass_options
def cancel(options: Options) -> None:
    """End the run; nothing of it is kept."""
    from console.runtime.baseline import runs

    with options.box() as box:
        options.writable(box)
        _finish(runs.cancel(box, actor()))


@baseline.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Show the run under way, or the last one. Exit code 0: nothing has failed."""
    from console.core.baseline.run_document import conclusion, result

    with options.box(ephemeral=True) as box:
        view, now = _view(box), box.now()
    if as_json:
        put_json(result(view, None, now) if view.state != "off" else {"schema": 1, "state": "off"})
    elif view.state == "off":
        say(f"no baseline is being collected (start one: {step('baseline start')})")
    else:
        _print(view)
    raise click.exceptions.Exit(FAILURE if conclusion(view) in ("fail", "invalid") else 0)


@baseline.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def export(options: Options, as_json: bool) -> None:
    """Print the run under way, or the last one, as TOML."""
    from console.core.baseline.run_document import result
    from console.core.baseline.thresholds import learn
    from console.runtime.baseline import runs
    from console.runtime.baseline.facts import LAST_RUN, RUN

    with options.box(ephemeral=True) as box:
        run = box.store.get(RUN)
        document: Any = None
        if run is not None:
            view, samples = runs.measured(box, run, box.now())
            learnt = learn(samples, view.started) if view.started else None
            document = result(view, learnt, box.now())
        elif isinstance(last := box.store.get(LAST_RUN), dict):
            document = last.get("result")
    if document is None:
        fail("there is no baseline yet", FAILURE)
    if as_json:
        put_json(document)
    else:
        import tomli_w

        put(tomli_w.dumps(document).rstrip("\n"))


@baseline.command()
@click.argument("names", nargs=-1, metavar="[OLD NEW]")
@click.option("--json", "as_json", is_flag=True)
@pass_options
def history(options: Options, names: tuple[str, ...], as_json: bool) -> None:
    """List all runs, and compare two of them: OLD and NEW, or the last two."""
    from console.core.baseline.run_document import compare
    from console.core.text.json_values import table
    from console.runtime.baseline import runs

    if len(names) not in (0, 2):
        fail("name two runs to compare, or none", USAGE)
    with options.box(ephemeral=True) as box:
        known = dict(runs.history(box))
    missing = [name for name in names if name not in known]
    if missing:
        fail(f"there is no run {missing[0]!r}; there are: {', '.join(known) or 'none'}", USAGE)
    rows = [
        {"name": name, "conclusion": str(table(run).get("conclusion") or "unreadable")}
        for name, run in known.items()
    ]
    pair = names or tuple(known)[-2:]
    changes = compare(known[pair[0]], known[pair[1]]) if len(pair) == 2 else ()
    if as_json:
        from dataclasses import asdict

        changed = [asdict(one) for one in changes]
        put_json({"schema": 1, "runs": rows, "compared": list(pair), "differences": changed})
        return
    for row in rows:
        put(f"{row['name']:<18} {row['conclusion']}")
    if changes:
        put(f"\n{pair[0]} -> {pair[1]}")
    for one in changes:
        put(f"  {one.name:<14} {_told(one.before):>10} -> {_told(one.after):<10} {one.word}")


def _told(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _view(box: Any) -> BaselineView:
    """The run under way by everything that the store has of it; else the last one."""
    from console.core.baseline.run_document import shown
    from console.runtime.baseline import runs
    from console.runtime.baseline.conditions import targets
    from console.runtime.baseline.facts import LAST_RUN, RUN

    run = box.store.get(RUN)
    if run is not None:
        return runs.measured(box, run, box.now())[0]
    last = box.store.get(LAST_RUN)
    return shown(None, last, [], [], targets(box.settings), box.now())


def _print(view: BaselineView) -> None:
    from console.core.baseline.run_document import conclusion
    from console.core.text.formatting import day_clock, visible

    progress = f"{100 * (view.progress or 0):.0f} %"
    coverage = "?" if view.coverage is None else f"{100 * view.coverage:.1f} %"
    put(f"baseline {view.state}: {conclusion(view)}  ({progress}, {coverage} observed)")
    put(f"  from {day_clock(view.started)}, checkpoint {day_clock(view.checkpoint)}")
    if view.reason:
        put(visible(f"  {view.reason}"))
    for one in view.metrics:
        mark, value = _MARKS.get(one.verdict, "[ ]"), f"{_told(one.value)} {one.unit}"
        words = f"{mark} {one.name:<13} {value:>10}  {one.target:<7} n {one.n:<6} {one.note}"
        put(visible(f"  {words}"))


def _finish(outcome: Outcome) -> None:
    (put if outcome.done else say)(outcome.message)
    raise click.exceptions.Exit(outcome.code)
