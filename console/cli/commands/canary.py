"""`canary`: a real task through the queue, now."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import put, put_json, say


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The outcome as a document.")
@pass_options
def canary(options: Options, as_json: bool) -> None:
    """Send a health check through the real queue and time it to its result."""
    import asyncio

    from console.core.metrics.queue_metrics import said
    from console.monitors import discover
    from console.runtime.commands import run_canary
    from console.runtime.loop import Runtime

    with options.box() as box:
        options.writable(box)
        runtime = Runtime(box, discover())
        outcome = asyncio.run(run_canary(runtime))
        last = runtime.view.last("canary")
    if as_json:
        data = dict(last.data) if last else {}
        put_json({"schema": 1, "done": outcome.done, "message": outcome.message, "canary": data})
    else:
        (put if outcome.done else say)(outcome.message)
        if not outcome.done and last is not None and (output := said(last)):
            say(f"its output: {output}")
    raise click.exceptions.Exit(outcome.code)
