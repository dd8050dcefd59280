"""`canary`: sends a real task through the queue now."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import print_json, print_message, print_redacted


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The outcome as a document.")
@pass_options
def canary(options: Options, as_json: bool) -> None:
    """Send a health check through the real queue and time it to its result."""
    import asyncio

    from console.core.metrics.queue_metrics import canary_output
    from console.monitors import discover_monitors
    from console.runtime.commands import run_canary
    from console.runtime.loop import Runtime

    with options.open_box() as box:
        options.require_writable(box)
        runtime = Runtime(box, discover_monitors())
        outcome = asyncio.run(run_canary(runtime))
        last = runtime.view.last_sample("canary")
    if as_json:
        data = dict(last.data) if last else {}
        print_json({"schema": 1, "done": outcome.done, "message": outcome.message, "canary": data})
    else:
        (print_redacted if outcome.done else print_message)(outcome.message)
        if not outcome.done and last is not None and (output := canary_output(last)):
            print_message(f"its output: {output}")
    raise click.exceptions.Exit(outcome.code)
