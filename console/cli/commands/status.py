"""`status`: prints the state of the box, as text or as a document for scripts."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, print_json, print_redacted
from console.core.exit_codes import UNREADABLE


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The document for scripts (schema 1).")
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Show the state of the box now.

    It always reads the processes itself. It takes the results of the monitors from the daemon if
    one runs; otherwise it finds them out itself. Exit code 0: healthy; 1: anything else; 3: the
    stored state cannot be read, and the verdict is based on what can be observed without it.
    """
    from console.core import status_document
    from console.runtime.snapshots.one_shot import take_snapshot
    from console.system.processes.process_table import ProcessError

    with options.open_box(ephemeral=True, memory_fallback=True) as box:
        try:
            snapshot = take_snapshot(box)
        except ProcessError as error:
            fail(str(error), UNREADABLE)
        if as_json:
            print_json(status_document.status_to_json(snapshot))
        else:
            print_redacted(status_document.format_status(snapshot).rstrip("\n"))
        is_unreadable = box.store.fallback_reason is not None
        raise click.exceptions.Exit(
            UNREADABLE if is_unreadable else status_document.EXIT_CODES[snapshot.verdict]
        )
