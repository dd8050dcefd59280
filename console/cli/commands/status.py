"""`status`: the truth about the box, as text or as a document for scripts."""

from __future__ import annotations

import click

from console.cli.context import Options, pass_options
from console.cli.output import fail, put, put_json
from console.core.exit_codes import UNREADABLE


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The document for scripts (schema 1).")
@pass_options
def status(options: Options, as_json: bool) -> None:
    """Show what is true of the box now.

    It looks at the processes itself; what the monitors know it takes from the daemon when one
    runs, and finds out itself when none does. Exit code 0: healthy; 1: anything else; 3: the state
    cannot be read, and the verdict is what could be seen without it.
    """
    from console.core import status_document
    from console.runtime.snapshots.one_shot import look_once
    from console.system.processes.process_table import ProcessError

    with options.box(ephemeral=True, stands_in=True) as box:
        try:
            snapshot = look_once(box)
        except ProcessError as error:
            fail(str(error), UNREADABLE)
        if as_json:
            put_json(status_document.status(snapshot))
        else:
            put(status_document.status_text(snapshot).rstrip("\n"))
        unread = box.store.trouble is not None
        raise click.exceptions.Exit(
            UNREADABLE if unread else status_document.EXIT[snapshot.verdict]
        )
