"""`report`: prints the hand-over document."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, print_json, print_redacted
from console.core.exit_codes import UNREADABLE, USAGE


@click.command()
@click.option("--since", metavar="TIME", help="18:40, 2h, or 2025-11-03T18:40. Default: one day.")
@click.option("--json", "as_json", is_flag=True, help="The same as a document for scripts.")
@pass_options
def report(options: Options, since: str | None, as_json: bool) -> None:
    """Write what a colleague who takes over must know, as Markdown.

    Every claim names its evidence: `#n` is a line of the ledger (`rpa-console events`).
    """
    from console.core.handover.builder import build_handover
    from console.core.handover.json_export import handover_to_json
    from console.core.handover.markdown import render_markdown
    from console.core.text.time_parsing import DAY_S, moment_ago, parse_time
    from console.runtime.snapshots.one_shot import take_snapshot
    from console.runtime.snapshots.time_travel import MAX_HANDOVER_EVENTS
    from console.system.processes.process_table import ProcessError

    with options.open_box(ephemeral=True) as box:
        now = box.now()
        try:
            begin = parse_time(since, now) if since else moment_ago(DAY_S, now)
        except ValueError as error:
            fail(f"--since: {error}", USAGE)
        try:
            snapshot = take_snapshot(box)
        except ProcessError as error:
            fail(str(error), UNREADABLE)
        handover = build_handover(snapshot, box.store.events(limit=MAX_HANDOVER_EVENTS), begin)
    if as_json:
        print_json(handover_to_json(handover))
    else:
        print_redacted(render_markdown(handover).rstrip("\n"))
