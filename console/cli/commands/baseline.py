"""`baseline`: collects hours of normal operation, judges them and learns thresholds from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from console.cli.context import Options, current_actor, pass_options
from console.cli.output import fail, print_json, print_message, print_redacted
from console.core.exit_codes import FAILURE, USAGE
from console.core.model.commands import Outcome
from console.core.model.views import BaselineView
from console.core.text.command_hint import format_command

if TYPE_CHECKING:
    from console.system.box import Box

_VERDICT_MARKS = {"pass": "[x]", "fail": "[!]"}


@click.group()
def baseline() -> None:
    """The normal baseline: start, follow, stop, keep, compare."""


@baseline.command()
@click.option("--hours", type=float, help="6 to 8. Default: as configured.")
@pass_options
def start(options: Options, hours: float | None) -> None:
    """Start collecting. It goes on without this terminal, and across restarts."""
    from console.runtime.baseline import runs

    low, high = runs.MIN_HOURS, runs.MAX_HOURS
    if hours is not None and not low <= hours <= high:
        fail(f"--hours: found {hours:g}, expected {low:g} to {high:g}", USAGE)
    with options.open_box() as box:
        options.require_writable(box)
        _print_outcome_and_exit(runs.start(box, current_actor(), hours))


@baseline.command()
@pass_options
def stop(options: Options) -> None:
    """End the run now and keep its results."""
    from console.runtime.baseline import runs

    with options.open_box() as box:
        options.require_writable(box)
        _print_outcome_and_exit(runs.stop(box, current_actor()))


@baseline.command()
@pass_options
def cancel(options: Options) -> None:
    """End the run now and discard its results."""
    from console.runtime.baseline import runs

    with options.open_box() as box:
        options.require_writable(box)
        _print_outcome_and_exit(runs.cancel(box, current_actor()))


@baseline.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Show the run under way, or the last one. Exit code 0: nothing has failed."""
    from console.core.baseline.run_document import conclusion, result_document

    with options.open_box(ephemeral=True) as box:
        view, now = _load_run_view(box), box.now()
    if as_json:
        print_json(
            result_document(view, None, now)
            if view.state != "off"
            else {"schema": 1, "state": "off"}
        )
    elif view.state == "off":
        print_message(
            f"no baseline is being collected (start one: {format_command('baseline start')})"
        )
    else:
        _print_run(view)
    raise click.exceptions.Exit(FAILURE if conclusion(view) in ("fail", "invalid") else 0)


@baseline.command()
@click.option("--json", "as_json", is_flag=True)
@pass_options
def export(options: Options, as_json: bool) -> None:
    """Print the run under way, or the last one, as TOML."""
    from console.core.baseline.run_document import result_document
    from console.core.baseline.thresholds import learn_thresholds
    from console.runtime.baseline import runs
    from console.runtime.baseline.facts import LAST_RUN_FACT, RUN_FACT

    with options.open_box(ephemeral=True) as box:
        run = box.store.get_fact(RUN_FACT)
        document: Any = None
        if run is not None:
            view, samples = runs.measure_run(box, run, box.now())
            learnt = learn_thresholds(samples, view.started) if view.started else None
            document = result_document(view, learnt, box.now())
        elif isinstance(last := box.store.get_fact(LAST_RUN_FACT), dict):
            document = last.get("result")
    if document is None:
        fail("there is no baseline yet", FAILURE)
    if as_json:
        print_json(document)
    else:
        import tomli_w

        print_redacted(tomli_w.dumps(document).rstrip("\n"))


@baseline.command()
@click.argument("names", nargs=-1, metavar="[OLD NEW]")
@click.option("--json", "as_json", is_flag=True)
@pass_options
def history(options: Options, names: tuple[str, ...], as_json: bool) -> None:
    """List all runs, and compare two of them: OLD and NEW, or the last two."""
    from console.core.baseline.run_document import compare_results
    from console.core.text.json_values import as_object
    from console.runtime.baseline import runs

    if len(names) not in (0, 2):
        fail("name two runs to compare, or none", USAGE)
    with options.open_box(ephemeral=True) as box:
        results = dict(runs.read_results(box))
    missing = [name for name in names if name not in results]
    if missing:
        fail(f"there is no run {missing[0]!r}; there are: {', '.join(results) or 'none'}", USAGE)
    rows = [
        {"name": name, "conclusion": str(as_object(run).get("conclusion") or "unreadable")}
        for name, run in results.items()
    ]
    pair = names or tuple(results)[-2:]
    changes = compare_results(results[pair[0]], results[pair[1]]) if len(pair) == 2 else ()
    if as_json:
        from console.core.records import asdict

        changed = [asdict(change) for change in changes]
        print_json({"schema": 1, "runs": rows, "compared": list(pair), "differences": changed})
        return
    for row in rows:
        print_redacted(f"{row['name']:<18} {row['conclusion']}")
    if changes:
        print_redacted(f"\n{pair[0]} -> {pair[1]}")
    for change in changes:
        print_redacted(
            f"  {change.name:<14} {_format_value(change.before):>10} -> "
            f"{_format_value(change.after):<10} {change.word}"
        )


def _format_value(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _load_run_view(box: Box) -> BaselineView:
    """Return the current run, measured by all its samples in the store; else the last run."""
    from console.core.baseline.run_document import current_view
    from console.runtime.baseline import runs
    from console.runtime.baseline.conditions import configured_targets
    from console.runtime.baseline.facts import LAST_RUN_FACT, RUN_FACT

    run = box.store.get_fact(RUN_FACT)
    if run is not None:
        return runs.measure_run(box, run, box.now())[0]
    last = box.store.get_fact(LAST_RUN_FACT)
    return current_view(None, last, [], [], configured_targets(box.settings), box.now())


def _print_run(view: BaselineView) -> None:
    from console.core.baseline.run_document import conclusion
    from console.core.text.formatting import format_date_time, sanitize_text

    progress = f"{100 * (view.progress or 0):.0f} %"
    coverage = "?" if view.coverage is None else f"{100 * view.coverage:.1f} %"
    print_redacted(f"baseline {view.state}: {conclusion(view)}  ({progress}, {coverage} observed)")
    print_redacted(
        f"  from {format_date_time(view.started)}, checkpoint {format_date_time(view.checkpoint)}"
    )
    if view.reason:
        print_redacted(sanitize_text(f"  {view.reason}"))
    for metric in view.metrics:
        mark, value = (
            _VERDICT_MARKS.get(metric.verdict, "[ ]"),
            f"{_format_value(metric.value)} {metric.unit}",
        )
        line = (
            f"{mark} {metric.name:<13} {value:>10}  {metric.target:<7} "
            f"n {metric.n:<6} {metric.note}"
        )
        print_redacted(sanitize_text(f"  {line}"))


def _print_outcome_and_exit(outcome: Outcome) -> None:
    (print_redacted if outcome.done else print_message)(outcome.message)
    raise click.exceptions.Exit(outcome.code)
