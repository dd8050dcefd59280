"""`alerts`: what stands, and taking note of it."""

from __future__ import annotations

import click

from console.cli.context import Options, actor, pass_options
from console.cli.output import put, put_json, say

_EVENTS = 10_000


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As a document.")
@click.pass_context
def alerts(context: click.Context, as_json: bool) -> None:
    """Print the alerts that stand, worst first. Exit code 0: none that nobody has noted."""
    from console.core import alerts as folding
    from console.core.text.formatting import day_clock, utc, visible

    if context.invoked_subcommand is not None:
        return
    options = context.find_object(Options)
    assert options is not None
    with options.box(ephemeral=True) as box:
        stand = folding.standing(box.store.events(kinds=folding.KINDS, limit=_EVENTS))
    if as_json:
        rows = [
            {
                "key": one.key, "severity": one.severity.value, "title": one.title,
                "reason": one.reason, "since": utc(one.since), "event": one.event,
                "acknowledged_by": one.acknowledged or None,
            }
            for one in stand
        ]  # fmt: skip
        put_json({"schema": 1, "alerts": rows})
    for one in () if as_json else stand:
        noted = f" (acknowledged by {one.acknowledged})" if one.acknowledged else ""
        words = f"{one.title}: {one.reason}{noted} (#{one.event})"
        put(visible(f"{one.severity.value:<8} {day_clock(one.since)}  {one.key:<20} {words}"))
    if not stand and not as_json:
        say("no alert stands")
    context.exit(1 if any(not one.acknowledged for one in stand) else 0)


@alerts.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="The outcome as a document.")
@pass_options
def ack(options: Options, key: str, as_json: bool) -> None:
    """Take note of the alert KEY (`all`: of every one). It stands until it is resolved."""
    from console.runtime.commands import acknowledge

    with options.box() as box:
        options.writable(box)
        outcome = acknowledge(box, "" if key == "all" else key, actor())
    if as_json:
        put_json({"schema": 1, "done": outcome.done, "message": outcome.message})
    else:
        (put if outcome.done else say)(outcome.message)
    raise click.exceptions.Exit(outcome.code)
