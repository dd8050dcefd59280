"""`report`: the hand-over document."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, put, put_json
from console.core.exit_codes import UNREADABLE, USAGE


@click.command()
@click.option("--since", metavar="TIME", help="18:40, 2h, or 2025-11-03T18:40. Default: one day.")
@click.option("--json", "as_json", is_flag=True, help="The same as a document for scripts.")
@pass_options
def report(options: Options, since: str | None, as_json: bool) -> None:
    """Write what a colleague who takes over must know, as Markdown.

    Every claim names its evidence: `#n` is a line of the ledger (`rpa-console events`).
    """
    from console.core.handover.builder import compose
    from console.core.handover.json_export import document
    from console.core.handover.markdown import markdown
    from console.core.text.time_parsing import DAY_S, ago, parse
    from console.runtime.snapshots.one_shot import look_once
    from console.runtime.snapshots.time_travel import LEDGER
    from console.system.processes.process_table import ProcessError

    with options.box(ephemeral=True) as box:
        now = box.now()
        try:
            begin = parse(since, now) if since else ago(DAY_S, now)
        except ValueError as error:
            fail(f"--since: {error}", USAGE)
        try:
            snapshot = look_once(box)
        except ProcessError as error:
            fail(str(error), UNREADABLE)
        told = compose(snapshot, box.store.events(limit=LEDGER), begin)
    if as_json:
        put_json(document(told))
    else:
        put(markdown(told).rstrip("\n"))
